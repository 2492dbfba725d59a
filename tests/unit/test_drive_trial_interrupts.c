#include "trial_bench.h"

static volatile sig_atomic_t interrupt_flag;
static int wake_pipe[2];

static void on_alarm(int signal_number)
{
    (void)signal_number;
    interrupt_flag++;
    (void)!write(wake_pipe[1], "!", 1);
}

static void interrupt_after(struct bench *bench, uint64_t ms)
{
    cr_assert_eq(pipe(wake_pipe), 0);
    interrupt_flag = 0;
    signal(SIGALRM, on_alarm);
    bench->options.client.interrupt = &interrupt_flag;
    bench->options.client.wake_fd = wake_pipe[0];
    ualarm((useconds_t)(ms * 1000), 0);
}

Test(drive_trial_interrupts, an_interrupt_keeps_the_running_block_when_it_ends_in_time)
{
    struct bench bench;
    set_up(&bench);
    bench.options.policy.warmup_steps = 0;
    interrupt_after(&bench, 900);
    run_fault(&bench,
              "slow run2 1.5"); /* blocks: 1 step, then 2 that are under way at the signal */
    expect(&bench, "interrupted", "interrupted");
    cr_expect_eq(record_u64(bench.record, FACT_STEPS), 3);
    cr_expect_str_eq(record_string(bench.record, FACT_WORKER_EXIT), "exit 0");
    cr_expect_float_eq(record_double(bench.record, FACT_MS_PER_STEP), 1e-4, 1e-12);
    tear_down(&bench);
}

Test(drive_trial_interrupts, an_interrupt_does_not_wait_for_a_block_without_end)
{
    struct bench bench;
    set_up(&bench);
    bench.options.policy.warmup_steps = 0;
    interrupt_after(&bench, 900);
    run_fault(&bench, "hang run2 x");
    expect(&bench, "interrupted", "interrupted");
    cr_expect_eq(record_u64(bench.record, FACT_STEPS), 1);
    cr_expect(bench.took_ms > 2500 && bench.took_ms < 8000, "%d", (int)bench.took_ms);
    tear_down(&bench);
}

Test(drive_trial_interrupts, a_second_interrupt_ends_a_block_at_once)
{
    struct bench bench;
    set_up(&bench);
    bench.options.policy.warmup_steps = 0;
    interrupt_after(&bench, 900);
    ualarm(900000, 300000);
    run_fault(&bench, "hang run2 x");
    ualarm(0, 0);
    expect(&bench, "interrupted", "interrupted");
    cr_expect_lt(bench.took_ms, 2500);
    tear_down(&bench);
}

Test(drive_trial_interrupts, an_interrupt_ends_a_start_at_once)
{
    struct bench bench;
    set_up(&bench);
    interrupt_after(&bench, 600);
    run_fault(&bench, "hang open x");
    expect(&bench, "interrupted", "interrupted");
    cr_expect(record_is_null(bench.record, FACT_STEPS));
    cr_expect_lt(bench.took_ms, 3000);
    tear_down(&bench);
}
