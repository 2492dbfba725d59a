/* cli/sweep.h - every trial of every cell, in order, into the store. */
#ifndef CLI_SWEEP_H
#define CLI_SWEEP_H

#include "cli/canary.h"
#include "cli/known.h"
#include "cli/run_setup.h"
#include "drive/trial.h"
#include "store/store.h"

struct sweep_cell; /* sweep.c */

/* Borrowed, where not owned: for the sweep's life. */
struct sweep {
    const struct run_setup *setup;
    const struct trial_options *options;
    struct store *store;
    struct known *known;
    struct canary canary; /* the caller's to release */
    /* counted by sweep_run(), in trials of cells */
    uint64_t skipped_count;
    uint64_t not_started_count; /* a signal cut it short before them */
    size_t not_started_place;   /* the first of them, in the plan */
    bool is_interrupted;        /* a signal cut it short */
    /* sweep.c's own */
    struct sweep_cell *cells; /* owned; in the plan's order */
    size_t *order;            /* owned; places in the plan, as this trial goes through them */
    size_t *unfit;            /* owned; places in the plan of cells that did not fit */
    size_t unfit_count;
};

/* The order of a trial's cells, places in the plan: the plan's own where there is one trial, as
 * published; else shuffled by seed and trial. */
void sweep_order(const struct run_setup *setup, uint32_t trial, size_t *ret_order);
/* Is it shuffled? */
bool sweep_is_shuffled(const struct run_setup *setup);

/* A failing cell never stops the sweep. An error is the harness's own: a record that could not be
 * written is then in *ret_lost (the caller's; NULL when none was lost). Stops early, with
 * STATUS_OK, when *options->client.interrupt is set. */
MUST_CHECK enum status sweep_run(struct sweep *sweep, struct record **ret_lost, struct err *err);

#endif
