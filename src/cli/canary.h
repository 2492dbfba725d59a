/* cli/canary.h - the canary cell: the one cell that a long sweep measures repeatedly, to see
 * whether the machine has changed. measure/canary.h decides that.
 */
#ifndef CLI_CANARY_H
#define CLI_CANARY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/status.h"
#include "cli/known.h"
#include "drive/trial.h"
#include "measure/canary.h"
#include "spec/cell.h"
#include "store/store.h"

struct canary {
    struct known *known;  /* borrowed: its measurements are runs like others; NULL: not kept */
    uint64_t interval_ns; /* 0 = there is none */
    const struct cell
        *cell; /* borrowed: of the plan, for the sweep's life; NULL = not chosen yet */
    struct measure_policy policy;
    struct measure_reading first;
    struct measure_reading newest; /* the last that has an interval */
    struct canary_change change;   /* of the last one against the first */
    uint64_t readings_count;       /* without the first, which is the cell's own record */
    uint64_t last_ns;
    uint64_t others_count; /* trials of other cells since the last one */
    struct buf since;      /* those since `newest`, as text */
    struct buf report;     /* what was measured between two that differ; empty = nothing */
};

void canary_init(struct canary *canary, uint64_t interval_ns);
void canary_release(struct canary *canary);

/* Why `change` is not known: a word; NULL when it is. */
const char *canary_why_unknown(const struct canary *canary);

/* A trial of the sweep is done: the first with results makes its cell the canary. */
void canary_take(struct canary *canary, const struct cell *cell, const struct record *record,
                 const struct measure_policy *policy);

/* Measures it again where that is due; at the sweep's end (`is_end`) where there were others since
 * the last of at least one. *ret_is_interrupted: a signal ended it. An error is the harness's own,
 * with the record that could not be written in *ret_lost. */
MUST_CHECK enum status canary_check(struct canary *canary, bool is_end, uint64_t position,
                                    bool is_shuffled, const struct trial_options *sweep_options,
                                    struct store *store, bool *ret_is_interrupted,
                                    struct record **ret_lost, struct err *err);

#endif
