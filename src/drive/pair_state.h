/* drive/pair_state.h - a comparison under way, for pair.c, which runs it, and pair_outcome.c, which
 * computes its outcome. */
#ifndef DRIVE_PAIR_STATE_H
#define DRIVE_PAIR_STATE_H

#include "drive/pair.h"
#include "drive/pair_side.h"
#include "observe/interference.h"

#define BLOCKS_PER_SIDE 2 /* of a round */

struct pair {
    const struct pair_plan *plan; /* borrowed: for the comparison */
    struct pair_side sides[PAIR_SIDES];
    uint32_t steps_per_block;
    double *log_ratios;        /* owned: `capacity` rounds */
    double *times[PAIR_SIDES]; /* owned: two a round */
    size_t rounds_count, capacity;
    uint64_t lead_in_steps_count;
    uint64_t raw_steps_count;
    uint64_t begin_ns;           /* of this start's measuring */
    uint64_t measured_before_ns; /* by the starts before */
    uint64_t measured_ns;
    struct sequence sequence;
    size_t first_round;                  /* of this start */
    struct reasons unsteady[PAIR_SIDES]; /* of the first start whose warm-up did not settle */
    uint64_t warmup_steps_count[PAIR_SIDES];
    size_t precise_looks; /* in a row */
    size_t next_look;
    bool has_look;
    struct compare_result last_look;
    bool is_complete;                 /* it ended by itself */
    struct interference interference; /* of this start, and the counts of all */
    size_t set_aside_count;           /* rounds of this start */
    struct reasons reasons;
};

/* The result of a comparison that has ended, complete or not. STATUS_NOMEM only. */
MUST_CHECK enum status pair_outcome(const struct pair *pair, struct pair_result *result,
                                    struct err *err);

#endif
