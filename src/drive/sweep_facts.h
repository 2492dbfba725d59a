/* drive/sweep_facts.h - what a sweep knows of a trial that the trial itself cannot know: its place
 * and the cell's other trials. outcome.c puts it into the record. (Whether the machine has changed
 * meanwhile: observe/canary.c.)
 */
#ifndef DRIVE_SWEEP_FACTS_H
#define DRIVE_SWEEP_FACTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

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
    /* The trial is the sweep's canary measured again: it has no place among the trials. */
    bool is_canary;
};

/* Sets sweep_* and trials_*. The record's verdict and median are there already. `facts`
 * may be NULL. */
void sweep_facts_put(const struct sweep_facts *facts, enum verdict verdict, struct record *record);

#endif
