#include "policy_drive.h"

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

Test(measure_policy_aside, steps_that_were_set_aside_are_measured_again)
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

Test(measure_policy_aside, as_many_disturbed_steps_as_were_asked_for_end_the_run)
{
    struct measure_policy policy = exact(200, 20);
    policy.block_steps_max = 10;
    struct drive *drive = drive_disturbed(&policy, step_1ms, never_in_warmup, 0);
    cr_assert_eq(drive->state.steady_steps_done, 0);
    cr_assert_eq(drive->state.aside_steps_done, 200);
    cr_assert_eq(drive->state.aside.count, 200, "they are what there is");
    drive_free(drive);
}

Test(measure_policy_aside, time_of_disturbed_blocks_and_pauses_is_within_the_limit)
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

Test(measure_policy_aside, a_load_that_stays_is_waited_for_once)
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
Test(measure_policy_aside, pauses_of_an_exact_run_are_bounded)
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

Test(measure_policy_aside, the_block_after_a_pause_is_short)
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

Test(measure_policy_aside, a_warmup_under_a_load_that_stays_settles_under_it)
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
Test(measure_policy_aside, clean_blocks_are_those_of_a_quiet_machine)
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

/* Warm-up took all of the time, and the block after a pause is no result: one more is. */
Test(measure_policy_aside, a_lead_in_never_ends_a_run_without_a_result)
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
