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

static void drive_block(struct drive *drive, struct measure_order order, step_fn step,
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

static struct drive *drive_disturbed(const struct measure_policy *policy, step_fn step,
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

static struct drive *drive_run(const struct measure_policy *policy, step_fn step)
{
    return drive_disturbed(policy, step, NULL, 0);
}

static void drive_free(struct drive *drive)
{
    measure_release(&drive->state);
    free(drive);
}

static uint64_t step_1ms(uint64_t index)
{
    (void)index;
    return NS_PER_MS;
}

static uint64_t step_50ns(uint64_t index)
{
    return 50 + random_at(1, index) % 20;
}

static uint64_t step_60s(uint64_t index)
{
    (void)index;
    return 60 * NS_PER_S;
}

/* Uniform over +-20 % of 1 ms. */
static uint64_t step_noisy(uint64_t index)
{
    return 800000 + random_at(2, index) % 400001;
}

/* A long ramp: 10 ms down to 1 ms over some 400 steps. */
static uint64_t step_ramp(uint64_t index)
{
    return (uint64_t)(1e6 * (1 + 9 * exp(-(double)index / 80)));
}

static uint64_t step_growing(uint64_t index)
{
    return (uint64_t)(1e6 * pow(1.05, (double)index));
}

/* Never steady: 1 ms, and a millionth more with every step. */
static uint64_t step_growing_slowly(uint64_t index)
{
    return NS_PER_MS + index * index;
}

static uint64_t step_300ms(uint64_t index)
{
    return 300 * NS_PER_MS + random_at(3, index) % 100000000;
}

static uint64_t step_compiling(uint64_t index)
{
    return index == 0 ? 90 * NS_PER_S : NS_PER_MS;
}

static struct measure_policy exact(uint64_t steps, uint64_t warmup)
{
    struct measure_policy policy = measure_policy_default();
    policy.steps_exact = steps;
    policy.is_warmup_auto = false;
    policy.warmup_steps = warmup;
    return policy;
}

Test(measure_policy, exact_steps_are_exact)
{
    const uint64_t steps[] = {1, 2, 7, 400, 1001, 25000};
    const uint64_t warmups[] = {0, 1, 20, 777};
    const step_fn fns[] = {step_1ms, step_50ns, step_60s, step_noisy};
    for (size_t i = 0; i < ARRAY_COUNT(steps) * ARRAY_COUNT(warmups) * ARRAY_COUNT(fns) * 2; i++) {
        struct measure_policy policy = exact(steps[i / 2 % 6], warmups[i / 12 % 4]);
        step_fn fn = fns[i / 48];
        if (fn == step_60s && policy.steps_exact > 1001)
            continue; /* a block each: more than this driver keeps */
        policy.is_sync_per_block = i % 2 == 1;
        struct drive *drive = drive_run(&policy, fn);
        cr_assert_eq(drive->state.steady_steps_done, policy.steps_exact);
        cr_assert_eq(drive->state.warmup_steps_done, policy.warmup_steps);
        cr_assert_eq(drive->blocks[0], 1, "the first step is seen apart");
        cr_assert_eq(drive->state.first_step_ns, fn(0));
        cr_assert_not(drive->state.is_warmup_steady);
        if (!policy.is_sync_per_block)
            cr_assert_eq(drive->state.steady.count, policy.steps_exact);
        cr_assert_eq(drive->state.reasons.count, 0);
        drive_free(drive);
    }
}

Test(measure_policy, samples_are_the_measured_steps_in_time_order)
{
    struct measure_policy policy = exact(50, 3);
    struct drive *drive = drive_run(&policy, step_noisy);
    uint64_t sum = 0;
    for (uint64_t i = 0; i < 50; i++) {
        cr_assert_eq(drive->state.steady.values[i], (double)step_noisy(3 + i));
        sum += step_noisy(3 + i);
    }
    cr_assert_eq(drive->state.steady_ns, sum);
    cr_assert_eq(drive->state.warmup_ns, step_noisy(0) + step_noisy(1) + step_noisy(2));
    drive_free(drive);
}

Test(measure_policy, exact_blind_blocks_are_enough_for_an_interval)
{
    struct measure_policy policy = exact(400, 20);
    policy.is_sync_per_block = true;
    struct drive *drive = drive_run(&policy, step_1ms);
    cr_assert_eq(drive->state.steady.count, 10, "400 steps of 1 ms: ten blocks of 40");
    for (size_t i = 0; i < 10; i++)
        cr_assert_float_eq(drive->state.steady.values[i], 1e6, 1e-6);
    drive_free(drive);
}

Test(measure_policy, blocks_reach_their_target_and_their_cap)
{
    struct measure_policy policy = exact(1000, 20);
    struct drive *drive = drive_run(&policy, step_1ms);
    /* warm-up 1 1 2 4 8 4, then 250 ms of 1 ms steps */
    const uint32_t wanted[] = {1, 1, 2, 4, 8, 4, 250, 250, 250, 250};
    cr_assert_eq(drive->blocks_count, ARRAY_COUNT(wanted));
    for (size_t i = 0; i < ARRAY_COUNT(wanted); i++) {
        cr_assert_eq(drive->blocks[i], wanted[i], "block %zu: %u", i, drive->blocks[i]);
        cr_assert_eq(drive->phases[i], i < 6 ? MEASURE_WARMUP : MEASURE_STEADY);
    }
    drive_free(drive);

    policy = exact(30000, 5000);
    drive = drive_run(&policy, step_50ns);
    uint32_t largest = 0;
    for (size_t i = 0; i < drive->blocks_count; i++)
        largest = drive->blocks[i] > largest ? drive->blocks[i] : largest;
    cr_assert_eq(largest, 10000);
    drive_free(drive);
}

/* Steps of the next measured block, after one of one step and `overhead_ns` beside it. */
static uint32_t block_after_overhead(struct measure_policy policy, uint64_t overhead_ns)
{
    struct measure_state state;
    struct err err = {0};
    uint64_t ns = NS_PER_MS;
    measure_init(&state, &policy);
    cr_assert_eq(measure_add_block(&state, 1, ns, policy.is_sync_per_block ? NULL : &ns, &err),
                 STATUS_OK);
    measure_add_overhead(&state, overhead_ns);
    uint32_t steps = measure_next(&state).steps_count;
    measure_release(&state);
    return steps;
}

Test(measure_policy, blocks_are_long_enough_for_what_is_spent_beside_them)
{
    struct measure_policy policy = exact(100000, 0);
    cr_expect_eq(block_after_overhead(policy, 0), 250); /* block_target_ns */
    cr_expect_eq(block_after_overhead(policy, 100 * NS_PER_US), 250);
    cr_expect_eq(block_after_overhead(policy, 400 * NS_PER_US), 800); /* 0.05 % */
    cr_expect_eq(block_after_overhead(policy, NS_PER_S), 1500);       /* at most */
    policy.steps_exact = 4000;
    cr_expect_eq(block_after_overhead(policy, NS_PER_S), 500); /* an eighth of all */
    policy.steps_exact = 400;
    cr_expect_eq(block_after_overhead(policy, NS_PER_S), 250);
    policy = exact(100000, 0);
    policy.is_sync_per_block = true;
    cr_expect_eq(block_after_overhead(policy, NS_PER_S), 250);
}

Test(measure_policy, the_overhead_of_a_block_is_the_mean_of_all)
{
    struct measure_policy policy = exact(100000, 0);
    struct measure_state state;
    struct err err = {0};
    uint64_t ns = NS_PER_MS;
    measure_init(&state, &policy);
    cr_assert_eq(measure_add_block(&state, 1, ns, &ns, &err), STATUS_OK);
    measure_add_overhead(&state, 100 * NS_PER_US);
    measure_add_overhead(&state, 500 * NS_PER_US);
    cr_expect_eq(measure_next(&state).steps_count, 600);
    measure_release(&state);
}

Test(measure_policy, steady_steps_stop_at_the_first_useful_look)
{
    /* No spread at all: the first scheduled n at or after 1 s of 1 ms steps. The schedule from 10:
     * 13 17 22 28 35 44 55 69 87 109 137 172 215 269 337 422 528 660 825 1032. */
    struct measure_policy policy = measure_policy_default();
    struct drive *drive = drive_run(&policy, step_1ms);
    cr_assert(drive->state.is_warmup_steady);
    cr_assert_eq(drive->state.reasons.count, 0);
    cr_assert_eq(drive->state.steady.count, 1032, "%zu", drive->state.steady.count);
    cr_assert_eq(drive->state.ci_percent, 0);
    drive_free(drive);
}

/* The median of the first n measured samples of step_noisy, and the time they took. */
static struct interval_quantile noisy_median(uint64_t first, size_t n, uint64_t *ret_sum)
{
    double values[8192];
    double sorted[8192];
    cr_assert_lt(n, 8192);
    *ret_sum = 0;
    for (size_t i = 0; i < n; i++) {
        uint64_t ns = step_noisy(first + i);
        *ret_sum += ns;
        values[i] = sorted[i] = (double)ns;
    }
    struct interval_quantile median;
    quantile_sort(sorted, n);
    cr_assert_eq(interval_of_quantile(values, sorted, n, 0.5, 0.95, &median, NULL), STATUS_OK);
    return median;
}

/* The first scheduled n where all conditions hold, there and at the one before. */
static size_t noisy_end(uint64_t first, double target_percent)
{
    size_t within = 0;
    for (size_t n = 10;; n = (size_t)ceil(1.25 * (double)n)) {
        uint64_t sum = 0;
        struct interval_quantile median = noisy_median(first, n, &sum);
        double side =
            fmax(median.two_sided.high - median.value, median.value - median.two_sided.low);
        double percent = 100 * side / median.value;
        within = median.two_sided.is_known && percent <= target_percent ? within + 1 : 0;
        double least = percent <= target_percent / 2 ? 10 : 20;
        if (within >= 2 && sum >= 12 * NS_PER_MS && median.effective_count >= least)
            return n;
    }
}

/* Independent check of the stopping rule. */
Test(measure_policy, noisy_steps_stop_at_the_second_look_within_the_target)
{
    const double targets[] = {1, 5, 7, 8, 10, 12, 14, 16, 18, 20, 25, 30, 40, 50};
    for (size_t i = 0; i < ARRAY_COUNT(targets); i++) {
        struct measure_policy policy = measure_policy_default();
        policy.time_min_ns = 12 * NS_PER_MS;
        policy.target_ci_percent = targets[i];
        struct drive *drive = drive_run(&policy, step_noisy);
        size_t wanted = noisy_end(drive->state.warmup_steps_done, targets[i]);
        cr_assert_eq(drive->state.steady.count, wanted, "target %g: %zu, wanted %zu", targets[i],
                     drive->state.steady.count, wanted);
        cr_assert_eq(drive->state.reasons.count, 0);
        cr_assert_leq(drive->state.ci_percent, targets[i]);
        cr_assert_geq(drive->state.effective_count, 10);
        cr_assert_leq(drive->state.effective_count, (double)wanted);
        drive_free(drive);
    }
}

static uint64_t step_sticky(uint64_t index)
{
    /* Runs of five steps at either speed. */
    return (random_at(5, index / 5) % 2 == 0 ? 1000000 : 1004000) + random_at(6, index) % 1000;
}

Test(measure_policy, correlated_samples_are_not_taken_at_their_number)
{
    struct measure_policy policy = measure_policy_default();
    policy.time_min_ns = 0;
    policy.is_warmup_auto = false;
    policy.warmup_steps = 0;
    policy.samples_min = 40;
    struct drive *drive = drive_run(&policy, step_sticky);
    cr_assert_geq(drive->state.steady.count, 80, "%zu", drive->state.steady.count);
    cr_assert_geq(drive->state.effective_count, 40);
    drive_free(drive);

    policy.time_max_ns = 200 * NS_PER_MS;
    policy.target_ci_percent = 0.01;
    drive = drive_run(&policy, step_sticky);
    cr_assert_str_eq(drive->state.reasons.items[0].code, "target_ci_not_met");
    cr_assert(strstr(drive->state.reasons.items[0].text, "effective") != NULL);
    drive_free(drive);
}

static uint64_t all_but_first_ns(const struct drive *drive)
{
    const struct measure_state *state = &drive->state;
    return state->warmup_ns + state->steady_ns + state->aside_ns + state->lead_in_ns -
           state->first_step_ns;
}

Test(measure_policy, unmet_target_is_a_reason_with_figures)
{
    struct measure_policy policy = measure_policy_default();
    policy.target_ci_percent = 0.001;
    policy.time_max_ns = 2 * NS_PER_S;
    struct drive *drive = drive_run(&policy, step_noisy);
    uint64_t counted = all_but_first_ns(drive);
    cr_assert_geq(counted, 2 * NS_PER_S);
    cr_assert_lt(counted, 2 * NS_PER_S + 100 * NS_PER_MS);
    cr_assert_eq(drive->state.reasons.count, 1);
    cr_assert_str_eq(drive->state.reasons.items[0].code, "target_ci_not_met");
    cr_assert(strstr(drive->state.reasons.items[0].text, "0.001") != NULL, "%s",
              drive->state.reasons.items[0].text);
    drive_free(drive);
}

Test(measure_policy, slow_steps_stop_after_the_current_block)
{
    struct measure_policy policy = measure_policy_default();
    struct drive *drive = drive_run(&policy, step_60s);
    for (size_t i = 0; i < drive->blocks_count; i++)
        cr_assert_eq(drive->blocks[i], 1);
    cr_assert_eq(drive->state.warmup_steps_done, 2, "the first step is not the warm-up's time");
    cr_assert_eq(drive->state.steady_steps_done, 1);
    cr_assert_eq(drive->state.reasons.count, 3);
    cr_assert_str_eq(drive->state.reasons.items[0].code, "warmup_not_steady");
    cr_assert_str_eq(drive->state.reasons.items[1].code, "target_ci_not_met");
    cr_assert_str_eq(drive->state.reasons.items[2].code, "samples_min_not_reached");
    drive_free(drive);
}

Test(measure_policy, blocks_do_not_run_far_past_the_time_limit)
{
    struct measure_policy policy = measure_policy_default();
    policy.time_max_ns = 10 * NS_PER_MS;
    policy.samples_min = 1000;
    struct drive *drive = drive_run(&policy, step_1ms);
    cr_assert_eq(all_but_first_ns(drive), 10 * NS_PER_MS, "not a block of 250 ms");
    cr_assert_geq(drive->state.steady_ns, 5 * NS_PER_MS, "half of it at least");
    cr_assert_eq(drive->state.reasons.count, 2);
    cr_assert_str_eq(drive->state.reasons.items[0].code, "target_ci_not_met");
    cr_assert_str_eq(drive->state.reasons.items[1].code, "samples_min_not_reached");
    drive_free(drive);
}

static uint64_t step_slow_first(uint64_t index)
{
    return index == 0 ? 100 * NS_PER_MS : NS_PER_MS;
}

Test(measure_policy, a_block_that_was_faster_than_foreseen_does_not_end_too_early)
{
    struct measure_policy policy = measure_policy_default();
    policy.is_warmup_auto = false;
    policy.warmup_steps = 1;
    policy.block_target_ns = 10 * NS_PER_S;
    struct drive *drive = drive_run(&policy, step_slow_first);
    cr_assert_eq(drive->blocks[1], 10, "ten steps of 100 ms would be the second at the first look");
    cr_assert_geq(drive->state.steady_ns, policy.time_min_ns);
    drive_free(drive);
}

Test(measure_policy, a_block_that_reaches_a_look_goes_there_at_once)
{
    struct measure_policy policy = measure_policy_default();
    policy.time_min_ns = 0;
    struct drive *drive = drive_run(&policy, step_1ms);
    cr_assert_eq(drive->phases[drive->blocks_count - 2], MEASURE_STEADY);
    cr_assert_eq(drive->phases[drive->blocks_count - 3], MEASURE_WARMUP);
    cr_assert_eq(drive->blocks[drive->blocks_count - 2], 10);
    cr_assert_eq(drive->blocks[drive->blocks_count - 1], 3, "the second look within the target");
    drive_free(drive);
}

Test(measure_policy, auto_warmup_waits_for_the_ramp)
{
    struct measure_policy policy = measure_policy_default();
    struct drive *drive = drive_run(&policy, step_ramp);
    cr_assert(drive->state.is_warmup_steady);
    /* What is left of the ramp when measuring starts: under 1 %. */
    cr_assert_lt((double)step_ramp(drive->state.warmup_steps_done), 1.01e6, "%" PRIu64,
                 drive->state.warmup_steps_done);
    drive_free(drive);
}

Test(measure_policy, auto_warmup_is_short_when_nothing_changes)
{
    struct measure_policy policy = measure_policy_default();
    struct drive *drive = drive_run(&policy, step_1ms);
    cr_assert_eq(drive->state.warmup_steps_done, 32, "1 1 2 4 8 16: the first end past 20");
    drive_free(drive);
    policy.is_sync_per_block = true;
    drive = drive_run(&policy, step_1ms);
    cr_assert(drive->state.is_warmup_steady);
    cr_assert_eq(drive->state.warmup_steps_done, 1000, "12 blocks: at the cap, by the last ten");
    drive_free(drive);
}

Test(measure_policy, compiling_in_the_first_step_is_no_warmup_time)
{
    struct measure_policy policy = measure_policy_default();
    struct drive *drive = drive_run(&policy, step_compiling);
    cr_assert(drive->state.is_warmup_steady);
    cr_assert_eq(drive->state.first_step_ns, 90 * NS_PER_S);
    cr_assert_eq(drive->state.reasons.count, 0);
    drive_free(drive);
}

Test(measure_policy, warmup_caps_hold_and_say_so)
{
    struct measure_policy policy = measure_policy_default();
    policy.warmup_steps_max = 50;
    struct drive *drive = drive_run(&policy, step_growing);
    cr_assert_eq(drive->state.warmup_steps_done, 50);
    cr_assert_not(drive->state.is_warmup_steady);
    cr_assert_str_eq(drive->state.reasons.items[0].code, "warmup_not_steady");
    drive_free(drive);

    policy = measure_policy_default();
    policy.warmup_time_max_ns = 20 * NS_PER_MS;
    drive = drive_run(&policy, step_growing);
    uint64_t counted = drive->state.warmup_ns - drive->state.first_step_ns;
    cr_assert(counted >= 20 * NS_PER_MS && counted < 30 * NS_PER_MS, "%" PRIu64, counted);
    drive_free(drive);
}

static uint64_t step_10s(uint64_t index)
{
    return index == 0 ? 30 * NS_PER_S : 10 * NS_PER_S + index % 2 * NS_PER_MS;
}

Test(measure_policy, few_slow_equal_steps_are_steady)
{
    struct measure_policy policy = measure_policy_default();
    policy.time_max_ns = 60 * NS_PER_S;
    struct drive *drive = drive_run(&policy, step_10s);
    cr_assert_eq(drive->state.warmup_steps_done, 4, "30 s without the first");
    cr_assert(drive->state.is_warmup_steady);
    drive_free(drive);
}

Test(measure_policy, the_first_step_is_no_evidence_of_steadiness)
{
    struct measure_policy policy = measure_policy_default();
    policy.warmup_time_max_ns = 120 * NS_PER_S;
    policy.time_max_ns = 240 * NS_PER_S;
    struct drive *drive = drive_run(&policy, step_60s);
    cr_assert_eq(drive->state.warmup_steps_done, 3);
    cr_assert_not(drive->state.is_warmup_steady);
    drive_free(drive);
}

Test(measure_policy, the_way_to_a_look_is_cut_evenly)
{
    struct measure_policy policy = measure_policy_default();
    policy.time_min_ns = 0;
    policy.samples_min = 400;
    struct drive *drive = drive_run(&policy, step_1ms);
    cr_assert_eq(drive->blocks[drive->blocks_count - 3], 200, "not 250 and 150");
    cr_assert_eq(drive->blocks[drive->blocks_count - 2], 200);
    cr_assert_eq(drive->blocks[drive->blocks_count - 1], 100, "to 500, the next look");
    drive_free(drive);
}

Test(measure_policy, a_harness_without_work_ends_by_the_sample_cap)
{
    struct measure_policy policy = measure_policy_default();
    policy.target_ci_percent = 1e-9;
    struct drive *drive = drive_run(&policy, step_50ns);
    cr_assert_eq(drive->state.steady.count, MEASURE_SAMPLES_MAX);
    drive_free(drive);
}

Test(measure_policy, blind_blocks_by_precision)
{
    struct measure_policy policy = measure_policy_default();
    policy.is_sync_per_block = true;
    policy.target_ci_percent = 2;
    struct drive *drive = drive_run(&policy, step_noisy);
    /* Means of 250 steps are within 2 % at once, but ten of them seldom worth ten. */
    cr_assert(drive->state.steady.count >= 13 && drive->state.steady.count <= 22, "%zu",
              drive->state.steady.count);
    cr_assert_geq(drive->state.steady_steps_done, 2000);
    cr_assert_eq(drive->state.reasons.count, 0);
    drive_free(drive);
}

Test(measure_policy, blocks_end_at_looks)
{
    struct measure_policy policy = measure_policy_default();
    policy.time_min_ns = 0;
    policy.target_ci_percent = 0.5;
    struct drive *drive = drive_run(&policy, step_noisy);
    size_t n = 0;
    size_t look = 10;
    for (size_t i = 0; i < drive->blocks_count; i++) {
        if (drive->phases[i] != MEASURE_STEADY)
            continue;
        n += drive->blocks[i];
        cr_assert_leq(n, look, "a block ran over the look at %zu to %zu", look, n);
        if (n == look)
            look = (size_t)ceil(1.25 * (double)look);
    }
    drive_free(drive);
}

Test(measure_policy, remaining_time_in_exact_mode)
{
    struct measure_policy policy = exact(100, 10);
    struct drive drive = {0};
    measure_init(&drive.state, &policy);
    cr_assert_eq(measure_remaining_ns(&drive.state), 0, "nothing is known before the first step");
    drive_block(&drive, measure_next(&drive.state), step_1ms, NULL);
    cr_assert_eq(measure_remaining_ns(&drive.state), 109 * NS_PER_MS);
    measure_release(&drive.state);
    measure_release(&drive.state);
    measure_release(NULL);
}

Test(measure_policy, remaining_time_by_precision_stays_under_the_cap)
{
    struct measure_policy policy = measure_policy_default();
    policy.target_ci_percent = 1e-6;
    struct drive drive = {0};
    measure_init(&drive.state, &policy);
    for (int i = 0; i < 30; i++) {
        drive_block(&drive, measure_next(&drive.state), step_noisy, NULL);
        cr_assert_leq(measure_remaining_ns(&drive.state), 31 * NS_PER_S);
    }
    /* Far from the target after ~5 s: all of the time is needed. */
    cr_assert_eq(measure_remaining_ns(&drive.state), policy.time_max_ns - drive.state.spent_ns);
    measure_release(&drive.state);
}

/* --- set aside --- */

static bool always(uint64_t index)
{
    return index > 0;
}

static bool never_in_warmup(uint64_t index)
{
    return index >= 20;
}

/* From step 100 on, three blocks of four. */
static bool mostly(uint64_t index)
{
    return index >= 100 && index / 10 % 4 != 0;
}

static bool one_in_five(uint64_t index)
{
    return index >= 20 && index / 10 % 5 == 0;
}

/* 1 ms, and 3 while disturbed. */
static uint64_t step_slowed(uint64_t index)
{
    return one_in_five(index) ? 3 * NS_PER_MS : NS_PER_MS;
}

Test(measure_policy, steps_that_were_set_aside_are_measured_again)
{
    struct measure_policy policy = exact(200, 20);
    policy.block_steps_max = 10;
    struct drive *drive = drive_disturbed(&policy, step_slowed, one_in_five, 0);
    cr_assert_eq(drive->state.steady_steps_done, 200);
    cr_assert_gt(drive->state.aside_steps_done, 30);
    cr_assert_eq(drive->state.steady.count, 200);
    for (size_t i = 0; i < 200; i++)
        cr_assert_eq(drive->state.steady.values[i], 1e6);
    cr_assert_eq(drive->state.aside.count, drive->state.aside_steps_done);
    cr_assert_eq(drive->state.steady_ns, 200 * NS_PER_MS, "the window is that of clean blocks");
    drive_free(drive);
}

Test(measure_policy, as_many_disturbed_steps_as_were_asked_for_end_the_run)
{
    struct measure_policy policy = exact(200, 20);
    policy.block_steps_max = 10;
    struct drive *drive = drive_disturbed(&policy, step_1ms, never_in_warmup, 0);
    cr_assert_eq(drive->state.steady_steps_done, 0);
    cr_assert_eq(drive->state.aside_steps_done, 200);
    cr_assert_eq(drive->state.aside.count, 200, "they are what there is");
    drive_free(drive);
}

Test(measure_policy, time_of_disturbed_blocks_and_pauses_is_within_the_limit)
{
    struct measure_policy policy = measure_policy_default();
    policy.target_ci_percent = 1e-9;
    policy.time_max_ns = 10 * NS_PER_S;
    policy.block_steps_max = 10;
    const uint64_t pauses[] = {0, 500 * NS_PER_MS, 2 * NS_PER_S, 8 * NS_PER_S};
    for (size_t i = 0; i < ARRAY_COUNT(pauses); i++) {
        struct drive *drive = drive_disturbed(&policy, step_noisy, mostly, pauses[i]);
        uint64_t counted = all_but_first_ns(drive) + drive->state.paused_ns;
        cr_assert(counted >= 10 * NS_PER_S && counted < 10 * NS_PER_S + 20 * NS_PER_MS, "%" PRIu64,
                  counted);
        cr_assert_gt(drive->state.steady.count, 0);
        drive_free(drive);
    }
}

Test(measure_policy, a_load_that_stays_is_waited_for_once)
{
    struct measure_policy policy = exact(200, 20);
    policy.block_steps_max = 10;
    struct drive *drive =
        drive_disturbed(&policy, step_1ms, never_in_warmup, MEASURE_PAUSE_NS_MAX + NS_PER_S);
    cr_assert_eq(drive->pauses_count, 1);
    cr_assert_leq(drive->state.paused_ns, MEASURE_PAUSE_NS_MAX);
    drive_free(drive);
}

/* Whatever comes: no more than twice the steps, and the time of the steps and a pause for that. */
Test(measure_policy, pauses_of_an_exact_run_are_bounded)
{
    struct measure_policy policy = exact(5000, 20);
    policy.block_steps_max = 10;
    struct drive *drive = drive_disturbed(&policy, step_1ms, one_in_five, 4 * NS_PER_S);
    cr_assert_eq(drive->state.steady_steps_done, 5000);
    uint64_t room_ns = MEASURE_PAUSE_NS_MAX + 5 * NS_PER_S;
    cr_assert_leq(drive->state.paused_ns, room_ns);
    cr_assert_gt(drive->state.paused_ns, room_ns / 2);
    drive_free(drive);
}

Test(measure_policy, the_block_after_a_pause_is_short)
{
    struct measure_state state;
    struct measure_policy policy = exact(10000, 0);
    struct err err = {0};
    measure_init(&state, &policy);
    cr_assert_eq(measure_add_block(&state, 1, NS_PER_MS, (uint64_t[]){NS_PER_MS}, &err), STATUS_OK);
    cr_assert_eq(measure_next(&state).steps_count, 250);
    measure_add_pause(&state, NS_PER_S, true);
    struct measure_order order = measure_next(&state);
    cr_assert(order.is_lead_in);
    cr_assert_eq(order.steps_count, 50);
    uint64_t ns[50];
    for (size_t i = 0; i < 50; i++)
        ns[i] = 2 * NS_PER_MS;
    cr_assert_eq(measure_set_aside(&state, 50, 100 * NS_PER_MS, ns, &err), STATUS_OK);
    cr_assert_eq(state.aside_steps_done + state.aside.count, 0, "nobody disturbed it");
    cr_assert_not(measure_next(&state).is_lead_in);
    measure_release(&state);
}

Test(measure_policy, a_warmup_under_a_load_that_stays_settles_under_it)
{
    struct measure_policy policy = measure_policy_default();
    policy.block_steps_max = 10;
    struct drive *drive = drive_disturbed(&policy, step_1ms, always, MEASURE_PAUSE_NS_MAX * 2);
    cr_assert(drive->state.is_warmup_steady);
    cr_assert_leq(drive->state.warmup_steps_done, 60);
    drive_free(drive);
}

/* The rule looks at the cause alone, so what is left is a sample of quiet steps: their median is
 * that of the same steps without a disturbance, while that of all steps is not. */
Test(measure_policy, clean_blocks_are_those_of_a_quiet_machine)
{
    struct measure_policy policy = exact(2000, 20);
    policy.block_steps_max = 10;
    struct drive *quiet = drive_run(&policy, step_noisy);
    struct drive *busy = drive_disturbed(&policy, step_noisy, one_in_five, 0);
    struct err err = {0};
    struct interval_quantile one, other;
    cr_assert_eq(interval_of_median(quiet->state.steady.values, 2000, 0.95, &one, &err), STATUS_OK);
    cr_assert_eq(interval_of_median(busy->state.steady.values, 2000, 0.95, &other, &err),
                 STATUS_OK);
    cr_assert(other.value > one.two_sided.low && other.value < one.two_sided.high);
    drive_free(quiet);
    drive_free(busy);
}

Test(measure_policy, the_time_limit_holds_for_warm_up_and_measuring_together)
{
    const uint64_t limits[] = {NS_PER_S, 3 * NS_PER_S, 30 * NS_PER_S};
    const step_fn fns[] = {step_noisy, step_growing_slowly, step_300ms};
    for (size_t i = 0; i < ARRAY_COUNT(limits) * ARRAY_COUNT(fns); i++) {
        struct measure_policy policy = measure_policy_default();
        policy.target_ci_percent = 1e-9;
        policy.time_max_ns = limits[i % 3];
        struct drive *drive = drive_run(&policy, fns[i / 3]);
        uint64_t longest_ns = fns[i / 3] == step_300ms ? 400 * NS_PER_MS : 100 * NS_PER_MS;
        cr_assert_leq(all_but_first_ns(drive), limits[i % 3] + longest_ns);
        cr_assert_leq(drive->state.warmup_ns - drive->state.first_step_ns,
                      limits[i % 3] / 2 + longest_ns, "warm-up leaves half");
        drive_free(drive);
    }
}

/* Warm-up took all of the time, and the block after a pause is no result: one more is. */
Test(measure_policy, a_lead_in_never_ends_a_run_without_a_result)
{
    struct measure_policy policy = measure_policy_default();
    struct measure_state state;
    struct err err = {0};
    uint64_t step_ns[1000] = {0};
    policy.time_max_ns = 10 * NS_PER_S;
    policy.is_warmup_auto = false;
    policy.warmup_steps = 0;
    measure_init(&state, &policy);
    state.is_lead_in = true;
    for (int blocks = 0; blocks < 2; blocks++) {
        struct measure_order order = measure_next(&state);
        cr_assert_eq(order.phase, MEASURE_STEADY, "block %d", blocks);
        for (uint32_t i = 0; i < order.steps_count; i++)
            step_ns[i] = 12 * NS_PER_S / order.steps_count;
        cr_assert_eq(measure_set_aside(&state, order.steps_count, 12 * NS_PER_S, step_ns, &err),
                     STATUS_OK);
    }
    cr_expect_eq(state.phase, MEASURE_DONE);
    cr_expect_gt(state.aside_steps_done, 0);
    measure_release(&state);
}
