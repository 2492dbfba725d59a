/* drive/pair_side.h - one of the two workers of a comparison: its life and its blocks. What
 * goes wrong with it is a verdict with a reason in its session, as in a trial. */
#ifndef DRIVE_PAIR_SIDE_H
#define DRIVE_PAIR_SIDE_H

#include <stdbool.h>
#include <stdint.h>

#include "client/client.h"
#include "measure/policy.h"

/* Borrowed: for the side's life. */
struct pair_side {
    const struct measure_policy *policy;
    const char *log_path;
    const char *run_id; /* NULL = none */
    struct client client;
    struct measure_state warmup; /* its warm-up's samples and end; nothing is added after it */
};

/* One counted block. */
struct pair_block {
    double time_ns;     /* what stands for the block: the median of its steps; synced per block its
                             mean step */
    uint64_t window_ns; /* without the lead-in step */
    uint64_t *step_ns;  /* steps_count of them, owned; NULL when synced per block */
    uint32_t steps_count;
};

void pair_side_init(struct pair_side *side, const struct cell *cell,
                    const struct client_options *options, const struct measure_policy *policy,
                    const char *run_id, const char *log_path);
void pair_side_release(struct pair_side *side);

/* Starts the worker, greets it and opens the cell. Whether it can go on: pair_side_can_go_on(). */
MUST_CHECK enum status pair_side_start(struct pair_side *side, struct err *err);
/* May the next request be sent? */
bool pair_side_can_go_on(const struct pair_side *side);

/* Does warm-up go on; and how many steps would this side's next block of it have? */
bool pair_side_is_warming(const struct pair_side *side);
/* A block of warm-up. STATUS_NOMEM only. */
MUST_CHECK enum status pair_side_warm(struct pair_side *side, uint32_t steps_count,
                                      struct err *err);
/* Median of the last steps of the warm-up, ns; > 0. */
double pair_side_step_ns(const struct pair_side *side);

/* A lead-in step and `steps_count` counted ones. False, with nothing set, when the session has
 * ended: for what went wrong with the worker, or for results that are wrong (client_faults()). */
bool pair_side_run(struct pair_side *side, uint32_t steps_count, struct pair_block *ret_block);
void pair_block_release(struct pair_block *block);

#endif
