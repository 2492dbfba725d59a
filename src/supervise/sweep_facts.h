/* supervise/sweep_facts.h - what a sweep knows of a trial that the trial itself cannot know: its
 * place, the cell's other trials, and whether the machine has changed meanwhile. outcome.c puts it
 * into the verdict and the record.
 */
#ifndef SUPERVISE_SWEEP_FACTS_H
#define SUPERVISE_SWEEP_FACTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "measure/sentinel.h"
#include "measure/trials.h"
#include "result/record.h"
#include "spec/verdict.h"
#include "store/store.h"

struct sweep_facts {
    uint64_t position; /* 0-based, over all trials */
    bool is_shuffled;  /* the order is random, not the plan's */
    /* The cell's trials before this one; borrowed: for the trial's life. */
    const struct measure_reading *trials;
    size_t trials_count;
    /* How the sentinel has changed; why that is not known: a word, NULL when it is. */
    struct sentinel_change sentinel;
    const char *no_sentinel_reason;
    /* This trial is the sentinel itself, whose first reading was this; else NULL. Borrowed. It has
     * no verdict on itself and no place among the trials. */
    const struct measure_reading *first_reading;
};

/* Adds `machine_drift` where it is due. */
void sweep_facts_judge(const struct sweep_facts *facts, struct reasons *reasons);
/* Sets sweep_*, trials_* and sentinel_*. The record's verdict and median are there already. `facts`
 * may be NULL. */
void sweep_facts_put(const struct sweep_facts *facts, enum verdict verdict, struct record *record);

/* Sets what two or more trials, or runs, come to: six fields, in the order count, mean, low and
 * high end of its interval, spread, range. */
void sweep_facts_put_trials(const struct trials *trials, const enum fact_id fields[6],
                            struct record *record);

/* A record's median as a reading, where it has a sound one (store_median_of): what trials and
 * sentinels are made of. */
bool sweep_facts_read(const struct record *record, struct measure_reading *ret_reading);
struct measure_reading sweep_facts_reading(const struct store_median *median);

#endif
