#include "trial_bench.h"

/* The whole of one fault: set up, run, compare, clean. `fault` may hold a {} argument in quotes. */
static void check_fault(const char *fault, const char *verdict, const char *code,
                        uint64_t timeout_ms)
{
    struct bench bench;
    set_up(&bench);
    if (timeout_ms > 0)
        bench.options.client.phase_timeout_ns = timeout_ms * NS_PER_MS;
    run_fault(&bench, fault);
    expect(&bench, verdict, code);
    tear_down(&bench);
}

Test(drive_trial_faults, a_hang_is_a_timeout_that_names_its_phase)
{
    check_fault("hang hello x", "timeout", "timeout_start", 2000);
    check_fault("hang open x", "timeout", "timeout_open", 2000);
    check_fault("hang run x", "timeout", "timeout_warmup", 2000);
    check_fault("hang run3 x", "timeout", "timeout_measure", 2000);
    check_fault("hang memory x", "timeout", "timeout_measure", 2000);
    check_fault("hang close x", "timeout", "timeout_close", 2000);
    check_fault("linger close x", "timeout", "timeout_close", 2000);
    check_fault("drip run x", "timeout", "timeout_warmup", 2000);
    check_fault("ignore-term open x", "timeout", "timeout_open", 2000);
}

Test(drive_trial_faults, figures_that_were_whole_are_kept_when_the_worker_fails_later)
{
    struct bench bench;
    set_up(&bench);
    bench.options.client.phase_timeout_ns = NS_PER_S;
    run_fault(&bench, "hang close x");
    expect(&bench, "timeout", "timeout_close");
    cr_expect_eq(record_u64(bench.record, FACT_STEPS), 6);
    cr_expect_float_eq(record_double(bench.record, FACT_MEM_ALLOC_MB), 3.0, 1e-9);
    tear_down(&bench);
}

Test(drive_trial_faults, a_crash_says_how_and_quotes_the_log)
{
    struct bench bench;
    set_up(&bench);
    run_fault(&bench, "exit run3 7");
    expect(&bench, "crashed", "exited");
    cr_expect_str_eq(record_string(bench.record, FACT_WORKER_EXIT), "exit 7");
    cr_expect_str_eq(record_string(bench.record, FACT_LOG_TAIL), "last words");
    tear_down(&bench);
    check_fault("exit hello 3", "crashed", "exited", 0);
    check_fault("exit open 0", "crashed", "exited", 0);
    check_fault("exit memory 1", "crashed", "exited", 0);
    check_fault("exit close 1", "crashed", "exited", 0);
    check_fault("signal run 11", "crashed", "killed_by_signal", 0);
    check_fault("signal open 9", "crashed", "killed_by_signal", 0);
    check_fault("half-killed run x", "crashed", "killed_by_signal", 0);
}

Test(drive_trial_faults, what_breaks_the_protocol_is_named)
{
    check_fault("garbage hello x", "protocol_error", "bad_message", 0);
    check_fault("garbage run binary", "protocol_error", "bad_line", 0);
    check_fault("nul open x", "protocol_error", "bad_line", 0);
    check_fault("half run x", "protocol_error", "half_line", 0);
    check_fault("half-grandchild run x", "protocol_error", "half_line", 0);
    check_fault("oversize open x", "protocol_error", "bad_line", 0);
    check_fault("version hello x", "protocol_error", "wrong_version", 0);
    check_fault("unknown run x", "protocol_error", "bad_message", 0);
    check_fault("flood run x", "protocol_error", "unexpected_message", 0);
    check_fault("twice run x", "protocol_error", "unasked_message", 0);
    /* it shows as bytes unasked for or as the wrong reply, whichever comes first */
    check_fault("late-twice run3 x", "protocol_error", "*", 0);
    check_fault("close-stdout run x", "protocol_error", "stream_closed", 0);
    check_fault("wrong-reply run bye", "protocol_error", "unexpected_message", 0);
    check_fault("wrong-reply memory block", "protocol_error", "unexpected_message", 0);
}

Test(drive_trial_faults, blocks_that_lie_are_refused)
{
    check_fault("with run '{\"step_ns\":[]}'", "protocol_error", "bad_message", 0);
    check_fault("with run '{\"step_ns\":[-5]}'", "protocol_error", "bad_message", 0);
    check_fault("with run '{\"steps\":2,\"step_ns\":[1,2]}'", "protocol_error", "wrong_block", 0);
    check_fault("with run '{\"sync\":\"block\",\"step_ns\":null}'", "protocol_error", "wrong_block",
                0);
    check_fault("with run '{\"loss\":NaN}'", "protocol_error", "bad_message", 0);
    /* compiling before anything is measured is no fault */
    check_fault("with run '{\"recompiles\":2}'", "ok", NULL, 0);
    check_fault("with run3 '{\"window_ns\":90000000000}'", "invalid", "clock_mismatch", 0);
}

Test(drive_trial_faults, error_replies_become_verdicts)
{
    check_fault("error open oom", "oom", "out_of_memory", 0);
    check_fault("error open unsupported", "unsupported", "unsupported", 0);
    check_fault("error open model", "invalid", "model_error", 0);
    check_fault("error run3 internal", "crashed", "worker_error", 0);
    check_fault("error open nonsense", "protocol_error", "bad_message", 0);
    struct bench bench;
    set_up(&bench);
    run_fault(&bench, "error-oom-bytes open x");
    expect(&bench, "oom", "memory_does_not_fit");
    cr_expect_eq(record_u64(bench.record, FACT_MEM_NEEDED_BYTES), 2000);
    cr_expect_eq(record_u64(bench.record, FACT_MEM_AVAILABLE_BYTES), 1000);
    cr_expect_str_eq(record_string(bench.record, FACT_WORKER_EXIT), "exit 0");
    tear_down(&bench);
}

Test(drive_trial_faults, figures_that_cannot_stand_are_invalid)
{
    check_fault("with run3 '{\"nonfinite\":1}'", "invalid", "nonfinite_loss", 0);
    check_fault("with run3 '{\"recompiles\":1}'", "invalid", "recompile", 0);
    check_fault("with run '{\"recompiles\":1}'", "ok", NULL, 0);
    struct bench bench;
    set_up(&bench);
    snprintf(bench.cell.model_source, sizeof(bench.cell.model_source), "preset");
    run_fault(&bench, "with open '{\"params_total\":5}'");
    expect(&bench, "invalid", "params_mismatch");
    tear_down(&bench);
}

Test(drive_trial_faults, a_worker_over_its_memory_limit_is_ended)
{
    struct bench bench;
    set_up(&bench);
    bench.options.client.memory_limit_bytes = 100 << 20;
    run_fault(&bench, "eat open x");
    expect(&bench, "oom", "memory_limit");
    cr_expect_eq(record_u64(bench.record, FACT_MEM_AVAILABLE_BYTES), 100 << 20);
    cr_expect_lt(record_double(bench.record, FACT_MAXRSS_MB), 600.0);
    tear_down(&bench);
}

Test(drive_trial_faults, nothing_outlives_a_worker)
{
    check_fault("grandchild run 0", "crashed", "exited", 0);
    check_fault("grandchild close 4", "crashed", "exited", 0);
}

Test(drive_trial_faults, a_flood_on_standard_error_neither_blocks_nor_fills_the_disk)
{
    struct bench bench;
    set_up(&bench);
    run_fault(&bench, "flood-stderr run3 150"); /* MiB; the limit is 64 */
    expect(&bench, "ok", NULL);
    char id[HASH_ID_BYTES];
    cell_id(&bench.cell, id);
    char path[FILE_PATH_BYTES];
    struct err err = {0};
    cr_assert_eq(store_log_path(bench.store, id, path, sizeof(path), &err), STATUS_OK);
    struct stat info;
    cr_assert_eq(stat(path, &info), 0);
    /* 146 MiB were written, and at least once 64 MiB of them were dropped */
    cr_expect_lt(info.st_size, 90 << 20, "%ld", (long)info.st_size);
    tear_down(&bench);
}

Test(drive_trial_faults, a_program_that_cannot_start_is_a_record)
{
    struct bench bench;
    set_up(&bench);
    run_engine(&bench, "exec:no-such-program-here --flag");
    expect(&bench, "crashed", "start_failed");
    cr_expect(record_is_null(bench.record, FACT_WORKER_EXIT));
    cr_expect(record_is_null(bench.record, FACT_STEPS), "never 0 for what is not known");
    tear_down(&bench);
}
