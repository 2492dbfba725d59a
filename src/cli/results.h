/* cli/results.h - the records that a run's table and exit code are of, read back from its folder.
 */
#ifndef CLI_RESULTS_H
#define CLI_RESULTS_H

#include "cli/run_setup.h"
#include "result/record.h"

/* Borrowed: for the call. */
struct results_wanted {
    const struct run_setup *setup;
    const char *run_id;
    const char *environment_id;
    /* Of the whole folder, one record a cell and trial: this run's; else a finished one of the plan
     * and of this environment; else a finished one; else any. Of equals the newest. Otherwise this
     * run's records alone. */
    bool is_whole;
};

/* Counts of records. */
struct results_tally {
    uint64_t count;
    uint64_t valid_count;   /* ok or unsteady */
    uint64_t quiet_count;   /* ok without a warning */
    uint64_t figures_count; /* have a duration, good or bad */
};

void results_count(struct results_tally *tally, const struct record *record);

/* `place` of a cell: in the plan; those of other cells follow. An error ends the reading. */
typedef enum status results_visit(void *context, size_t place, const struct record *record,
                                  struct err *err);

/* In the order of the folder. */
MUST_CHECK enum status results_each(const struct results_wanted *wanted, results_visit *visit,
                                    void *context, struct err *err);

#endif
