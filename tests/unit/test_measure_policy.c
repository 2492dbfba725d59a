#include "policy_drive.h"

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
