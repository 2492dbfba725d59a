/* tests/unit/policy_drive.h - a worker that takes the policy's orders, in time that is made up. */
#ifndef UNIT_POLICY_DRIVE_H
#define UNIT_POLICY_DRIVE_H

#include <criterion/criterion.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/random.h"
#include "measure/interval.h"
#include "measure/policy.h"
#include "measure/quantile.h"

#define BLOCKS_MAX 4096

/* A worker that runs what it is told: step i takes step_ns(i). */
struct drive {
    struct measure_state state;
    size_t blocks_count;
    uint32_t blocks[BLOCKS_MAX];
    enum measure_phase phases[BLOCKS_MAX];
    uint64_t steps_done;
    uint64_t pause_ns; /* after a disturbed block; 0 = none */
    size_t pauses_count;
};

typedef uint64_t (*step_fn)(uint64_t index);

/* Is the block that starts with step `index` disturbed? */
typedef bool (*disturb_fn)(uint64_t index);

static inline void drive_block(struct drive *drive, struct measure_order order, step_fn step,
                               disturb_fn disturb)
{
    uint64_t *ns = calloc(order.steps_count, sizeof(*ns));
    uint64_t window = 0;
    bool is_aside = order.is_lead_in || (disturb != NULL && disturb(drive->steps_done));
    for (uint32_t i = 0; i < order.steps_count; i++) {
        ns[i] = step(drive->steps_done++);
        window += ns[i];
    }
    bool is_blind = drive->state.policy.is_sync_per_block;
    struct err err = {0};
    cr_assert_lt(drive->blocks_count, BLOCKS_MAX);
    drive->blocks[drive->blocks_count] = order.steps_count;
    drive->phases[drive->blocks_count++] = order.phase;
    const uint64_t *step_ns = is_blind ? NULL : ns;
    enum status status =
        is_aside ? measure_set_aside(&drive->state, order.steps_count, window, step_ns, &err)
                 : measure_add_block(&drive->state, order.steps_count, window, step_ns, &err);
    cr_assert_eq(status, STATUS_OK);
    free(ns);
    if (is_aside && !order.is_lead_in && drive->pause_ns > 0) {
        uint64_t room_ns = measure_pause_max_ns(&drive->state);
        uint64_t pause_ns = drive->pause_ns < room_ns ? drive->pause_ns : room_ns;
        drive->pauses_count += pause_ns > 0;
        if (pause_ns > 0)
            measure_add_pause(&drive->state, pause_ns, pause_ns == drive->pause_ns);
    }
}

static inline struct drive *drive_disturbed(const struct measure_policy *policy, step_fn step,
                                            disturb_fn disturb, uint64_t pause_ns)
{
    struct drive *drive = calloc(1, sizeof(*drive));
    drive->pause_ns = pause_ns;
    measure_init(&drive->state, policy);
    for (;;) {
        struct measure_order order = measure_next(&drive->state);
        if (order.phase == MEASURE_DONE)
            break;
        cr_assert_geq(order.steps_count, 1);
        drive_block(drive, order, step, disturb);
    }
    cr_assert_eq(measure_remaining_ns(&drive->state), 0);
    return drive;
}

static inline struct drive *drive_run(const struct measure_policy *policy, step_fn step)
{
    return drive_disturbed(policy, step, NULL, 0);
}

static inline void drive_free(struct drive *drive)
{
    measure_release(&drive->state);
    free(drive);
}

static inline uint64_t step_1ms(uint64_t index)
{
    (void)index;
    return NS_PER_MS;
}

static inline uint64_t step_50ns(uint64_t index)
{
    return 50 + random_at(1, index) % 20;
}

static inline uint64_t step_60s(uint64_t index)
{
    (void)index;
    return 60 * NS_PER_S;
}

/* Uniform over +-20 % of 1 ms. */
static inline uint64_t step_noisy(uint64_t index)
{
    return 800000 + random_at(2, index) % 400001;
}

static inline struct measure_policy exact(uint64_t steps, uint64_t warmup)
{
    struct measure_policy policy = measure_policy_default();
    policy.steps_exact = steps;
    policy.is_warmup_auto = false;
    policy.warmup_steps = warmup;
    return policy;
}

static inline uint64_t all_but_first_ns(const struct drive *drive)
{
    const struct measure_state *state = &drive->state;
    return state->warmup_ns + state->steady_ns + state->aside_ns + state->lead_in_ns -
           state->first_step_ns;
}

#endif
