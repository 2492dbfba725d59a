/* measure/policy.h - how long to measure: the one place where warm-up ends, blocks are sized and
 * stopping is decided, for every engine alike. Pure: no I/O, no clock, no globals.
 *
 * The driver (drive/) asks measure_next() what to do, runs that many steps, hands the block to
 * measure_add_block(), and asks again.
 *
 * Stopping: with steps_exact, exactly that many measured steps. Otherwise at a look where
 *  - the measured time is at least time_min_ns,
 *  - the 95 % interval of the median (interval.h) is within target_ci_percent of the median on both
 *    sides, as it was at the look before, and
 *  - the effective sample size is at least MEASURE_EFFECTIVE_MIN, and samples_min; the
 *    latter alone is enough where the interval is within half the target.
 * Looks are at predeclared n only: samples_min, then each 1.25 times the last, rounded up.
 * Measuring also ends when time_max_ns has passed or MEASURE_SAMPLES_MAX samples are there (then
 * the unmet condition is a reason). A time_min_ns over time_max_ns is time_max_ns.
 *
 * Blocks that were disturbed are set aside by the caller, for a cause that he has seen and whatever
 * their time: measure_set_aside(). Their samples count for nothing, their time does. With
 * steps_exact, that many steps are measured beside them, unless as many were set aside: then
 * measuring ends, with what there is. While the disturbance lasts the caller may pause
 * (measure_pause_max_ns()); the block after a pause is a short one, to be set aside, too: caches
 * and clocks have rested.
 *
 * Warm-up, when auto, ends at the first block's end where the samples have settled (steady.h); or
 * at its caps (by precision, its time is at most half of time_max_ns), where too few samples for
 * that may count as steady (steady_is_short()). Otherwise the reason warmup_not_steady is kept.
 *
 * Blocks: as many steps as fit into block_target_ns; when synced per step, into more where what is
 * spent outside the windows (measure_add_overhead()) would else be over MEASURE_OVERHEAD_PERCENT of
 * them, up to MEASURE_BLOCK_NS_MAX and an eighth of steps_exact.
 *
 * Reason codes: warmup_not_steady, target_ci_not_met, samples_min_not_reached.
 */
#ifndef MEASURE_POLICY_H
#define MEASURE_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/status.h"
#include "spec/verdict.h"

/* Raised when the same policy gives different results: earlier measurements then do not count as
 * the same (--resume). 2: intervals by the effective number of samples. 3: disturbed blocks are set
 * aside, and the time limit holds for warm-up and measuring together. */
#define MEASURE_METHOD        3
#define MEASURE_EFFECTIVE_MIN 20.0
/* By precision no more samples are taken than this; steps_exact is the caller's to bound. */
#define MEASURE_SAMPLES_MAX 1000000
/* Half of what is promised: blocks that end early for a look are shorter than wished. */
#define MEASURE_OVERHEAD_PERCENT 0.05
/* An interrupted run, and progress, wait for a block's end. */
#define MEASURE_BLOCK_NS_MAX (1500 * NS_PER_MS)
/* Of a block after a pause; a step at least. */
#define MEASURE_LEAD_IN_NS (50 * NS_PER_MS)
/* A disturbance that lasts longer is taken for one that stays. */
#define MEASURE_PAUSE_NS_MAX (6 * NS_PER_S)
#define MEASURE_RECENT       3

struct measure_policy {
    uint64_t steps_exact;     /* 0 = by precision */
    double target_ci_percent; /* half-width of the median's interval, both sides */
    bool is_target_asked;     /* by the user: missing it is then a verdict, else a warning */
    uint64_t time_max_ns;     /* by precision: cap on all time from the second step on (after a
                                 warm-up that is not auto: after it), in blocks, between them and
                                 in pauses */
    uint64_t time_min_ns;
    uint32_t samples_min;
    bool is_warmup_auto;
    uint64_t warmup_steps;       /* when not auto */
    uint64_t warmup_steps_max;   /* caps for auto; */
    uint64_t warmup_time_max_ns; /* of the same time */
    bool is_sync_per_block;      /* a sample is a block's mean step instead of one step */
    uint64_t block_target_ns;    /* wished length of a block, at least */
    uint32_t block_steps_max;
};

/* The published and documented defaults: by precision, 1 %, 30 s at most. */
struct measure_policy measure_policy_default(void);

enum measure_phase { MEASURE_WARMUP, MEASURE_STEADY, MEASURE_DONE };

struct measure_order {
    enum measure_phase phase;
    uint32_t steps_count; /* of the next block; 0 when done */
    bool is_lead_in;      /* the block after a pause, to be set aside */
};

/* Growing list of samples, ns per step. */
struct measure_samples {
    double *values; /* owned */
    size_t count;
    size_t capacity;
};

struct measure_state {
    struct measure_policy policy;
    enum measure_phase phase;
    struct measure_samples warmup;
    struct measure_samples steady;
    struct measure_samples aside; /* measured in disturbed blocks */
    uint64_t warmup_steps_done;
    uint64_t warmup_ns;
    uint64_t first_step_ns; /* of the warm-up's (or else the run's) first step */
    uint64_t steady_steps_done;
    uint64_t steady_ns;        /* sum of the blocks' windows */
    uint64_t aside_steps_done; /* measured in disturbed blocks: part of nothing above */
    uint64_t aside_ns;
    uint64_t lead_in_ns;  /* windows of blocks after a pause, while measuring */
    uint64_t spent_ns;    /* all time from the second step on: what time_max_ns is compared with */
    uint64_t paused_ns;   /* all pauses */
    bool is_lead_in;      /* the next block is the first after a pause */
    bool is_load_lasting; /* a whole pause did not help, and no clean block has come since */
    double recent_ns[MEASURE_RECENT]; /* of the newest steps, disturbed or not */
    size_t recent_count;
    uint64_t overhead_ns; /* outside the windows of so many blocks; of both phases */
    uint64_t overhead_blocks_count;
    size_t next_look;       /* the n at which the interval is looked at next */
    double ci_percent;      /* wider side of the interval at the last look; infinite before one */
    double effective_count; /* effective sample size at the last look; 0 before one */
    bool is_warmup_steady;  /* auto: its end was detected, not capped */
    struct reasons reasons; /* unmet conditions, in the order found */
};

void measure_init(struct measure_state *state, const struct measure_policy *policy);
void measure_release(struct measure_state *state);
struct measure_order measure_next(const struct measure_state *state);
/* The block that measure_next() asked for: window_ns, and step_ns[steps_count], or NULL when synced
 * per block. STATUS_NOMEM only. */
MUST_CHECK enum status measure_add_block(struct measure_state *state, uint32_t steps_count,
                                         uint64_t window_ns, const uint64_t *step_ns,
                                         struct err *err);
/* The same for a block that was disturbed, or a lead-in. */
MUST_CHECK enum status measure_set_aside(struct measure_state *state, uint32_t steps_count,
                                         uint64_t window_ns, const uint64_t *step_ns,
                                         struct err *err);
/* Time of the last block outside its window, its batches and its losses. */
void measure_add_overhead(struct measure_state *state, uint64_t overhead_ns);
/* Other time that passed outside of windows: batches, losses. */
void measure_add_spent(struct measure_state *state, uint64_t spent_ns);
/* How long the caller may pause now, for a disturbance to end: MEASURE_PAUSE_NS_MAX within the
 * time that is left; with steps_exact within MEASURE_PAUSE_NS_MAX and the time of those steps, for
 * all pauses and disturbed blocks together. 0 after a pause that did not help, until a block is
 * clean. */
uint64_t measure_pause_max_ns(const struct measure_state *state);
/* A pause has ended, because the disturbance did (`is_quiet`) or for its length. */
void measure_add_pause(struct measure_state *state, uint64_t pause_ns, bool is_quiet);
/* For progress: of the newest measured samples, some hundreds, whatever there are. At least one is
 * there. */
double measure_recent_median_ns(const struct measure_state *state);
/* An estimate of measuring time left, warm-up included, ns. 0 until a step has been seen. */
uint64_t measure_remaining_ns(const struct measure_state *state);

#endif
