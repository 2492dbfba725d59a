#include "policy_drive.h"

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

Test(measure_policy_limits, unmet_target_is_a_reason_with_figures)
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

Test(measure_policy_limits, slow_steps_stop_after_the_current_block)
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

Test(measure_policy_limits, blocks_do_not_run_far_past_the_time_limit)
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

Test(measure_policy_limits, auto_warmup_waits_for_the_ramp)
{
    struct measure_policy policy = measure_policy_default();
    struct drive *drive = drive_run(&policy, step_ramp);
    cr_assert(drive->state.is_warmup_steady);
    /* What is left of the ramp when measuring starts: under 1 %. */
    cr_assert_lt((double)step_ramp(drive->state.warmup_steps_done), 1.01e6, "%" PRIu64,
                 drive->state.warmup_steps_done);
    drive_free(drive);
}

Test(measure_policy_limits, auto_warmup_is_short_when_nothing_changes)
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

Test(measure_policy_limits, compiling_in_the_first_step_is_no_warmup_time)
{
    struct measure_policy policy = measure_policy_default();
    struct drive *drive = drive_run(&policy, step_compiling);
    cr_assert(drive->state.is_warmup_steady);
    cr_assert_eq(drive->state.first_step_ns, 90 * NS_PER_S);
    cr_assert_eq(drive->state.reasons.count, 0);
    drive_free(drive);
}

Test(measure_policy_limits, warmup_caps_hold_and_say_so)
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

Test(measure_policy_limits, few_slow_equal_steps_are_steady)
{
    struct measure_policy policy = measure_policy_default();
    policy.time_max_ns = 60 * NS_PER_S;
    struct drive *drive = drive_run(&policy, step_10s);
    cr_assert_eq(drive->state.warmup_steps_done, 4, "30 s without the first");
    cr_assert(drive->state.is_warmup_steady);
    drive_free(drive);
}

Test(measure_policy_limits, the_first_step_is_no_evidence_of_steadiness)
{
    struct measure_policy policy = measure_policy_default();
    policy.warmup_time_max_ns = 120 * NS_PER_S;
    policy.time_max_ns = 240 * NS_PER_S;
    struct drive *drive = drive_run(&policy, step_60s);
    cr_assert_eq(drive->state.warmup_steps_done, 3);
    cr_assert_not(drive->state.is_warmup_steady);
    drive_free(drive);
}

Test(measure_policy_limits, a_harness_without_work_ends_by_the_sample_cap)
{
    struct measure_policy policy = measure_policy_default();
    policy.target_ci_percent = 1e-9;
    struct drive *drive = drive_run(&policy, step_50ns);
    cr_assert_eq(drive->state.steady.count, MEASURE_SAMPLES_MAX);
    drive_free(drive);
}

Test(measure_policy_limits, remaining_time_in_exact_mode)
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

Test(measure_policy_limits, remaining_time_by_precision_stays_under_the_cap)
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

Test(measure_policy_limits, the_time_limit_holds_for_warm_up_and_measuring_together)
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
