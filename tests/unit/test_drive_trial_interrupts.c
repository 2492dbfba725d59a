#include <inttypes.h>

#include "trial_bench.h"

/* The worker itself sends the signal, when it is where the test wants it, however slow the machine.
 */
static volatile sig_atomic_t signals_count;
static int signals_per_alarm;
static int wake_pipe[2];
static uint64_t alarm_ns;

static void on_alarm(int signal_number)
{
    (void)signal_number;
    alarm_ns = clock_now_ns();
    signals_count += signals_per_alarm;
    (void)!write(wake_pipe[1], "!", 1);
}

/* Runs `fault`, whose alarm counts as so many signals to the harness. Returns how long it took from
 * there, in ms. */
static uint64_t run_interrupted(struct bench *bench, const char *fault, int signals)
{
    set_up(bench);
    cr_assert_eq(pipe(wake_pipe), 0);
    signals_count = 0;
    signals_per_alarm = signals;
    signal(SIGALRM, on_alarm);
    bench->options.client.interrupt = &signals_count;
    bench->options.client.wake_fd = wake_pipe[0];
    bench->options.client.phase_timeout_ns = PATIENCE_NS;
    bench->options.policy.warmup_steps = 0;
    run_fault(bench, fault);
    expect(bench, "interrupted", "interrupted");
    return (clock_now_ns() - alarm_ns) / NS_PER_MS;
}

Test(drive_trial_interrupts, an_interrupt_keeps_the_running_block_when_it_ends_in_time)
{
    struct bench bench;
    (void)run_interrupted(&bench, "alarm-slow run2 0.2",
                          1); /* 1 step, then 2 under way at the signal */
    cr_expect_eq(record_u64(bench.record, FACT_STEPS), 3);
    cr_expect_str_eq(record_string(bench.record, FACT_WORKER_EXIT), "exit 0");
    cr_expect_float_eq(record_double(bench.record, FACT_MS_PER_STEP), 1e-4, 1e-12);
    tear_down(&bench);
}

Test(drive_trial_interrupts, an_interrupt_does_not_wait_for_a_block_without_end)
{
    struct bench bench;
    uint64_t took_ms = run_interrupted(&bench, "alarm-hang run2 x", 1);
    cr_expect_eq(record_u64(bench.record, FACT_STEPS), 1);
    cr_expect(took_ms >= 2000 && took_ms < PATIENCE_MS, "%" PRIu64 " ms",
              took_ms); /* 2 s are its grace */
    tear_down(&bench);
}

Test(drive_trial_interrupts, a_second_interrupt_ends_a_block_at_once)
{
    struct bench bench;
    uint64_t took_ms = run_interrupted(&bench, "alarm-hang run2 x", 2);
    cr_expect_eq(record_u64(bench.record, FACT_STEPS), 1);
    cr_expect_lt(took_ms, 2000, "not even the grace of a block: %" PRIu64 " ms", took_ms);
    tear_down(&bench);
}

Test(drive_trial_interrupts, an_interrupt_ends_a_start_at_once)
{
    struct bench bench;
    uint64_t took_ms = run_interrupted(&bench, "alarm-hang open x", 1);
    cr_expect(record_is_null(bench.record, FACT_STEPS));
    cr_expect_lt(took_ms, 2000, "a start has no grace: %" PRIu64 " ms", took_ms);
    tear_down(&bench);
}
