#include "trial_bench.h"

Test(drive_trial, a_well_behaved_worker_gives_a_whole_record)
{
    struct bench bench;
    set_up(&bench);
    run_fault(&bench, "none none x");
    expect(&bench, "ok", NULL);
    const struct record *record = bench.record;
    cr_expect_eq(record_u64(record, FACT_STEPS), 6);
    cr_expect_eq(record_u64(record, FACT_WARMUP_STEPS), 2);
    cr_expect_eq(record_u64(record, FACT_SAMPLES), 6);
    /* every step is said to take 100 ns; 16 tokens each */
    cr_expect_float_eq(record_double(record, FACT_MS_PER_STEP), 1e-4, 1e-12);
    cr_expect_float_eq(record_double(record, FACT_MS_P50), 1e-4, 1e-12);
    cr_expect_float_eq(record_double(record, FACT_TOKENS_PER_SEC), 16 / 100e-9, 1);
    cr_expect(record_is_null(record, FACT_MS_P90), "6 samples are too few");
    cr_expect_float_eq(record_double(record, FACT_PEAK_MEM_MB), 6.0, 1e-9);
    cr_expect_float_eq(record_double(record, FACT_MEM_ALLOC_MB), 3.0, 1e-9);
    cr_expect(record_is_null(record, FACT_MEM_RESERVED_MB));
    cr_expect_float_eq(record_double(record, FACT_LOAD_MS), 1e-3, 1e-12);
    cr_expect_gt(record_double(record, FACT_START_MS), 0.0);
    cr_expect_gt(record_double(record, FACT_MAXRSS_MB), 1.0);
    cr_expect_gt(record_double(record, FACT_HARNESS_MS), 0.0);
    cr_expect_str_eq(record_string(record, FACT_WORKER_EXIT), "exit 0");
    cr_expect_str_eq(record_string(record, FACT_NOTES), "hostile");
    cr_expect_str_eq(record_string(record, FACT_ENGINE_VERSION), "9");
    cr_expect_float_eq(record_double(record, FACT_LOSS_LAST), 2.5, 0);
    cr_expect_eq(record_u64(record, FACT_NONFINITE), 0);
    cr_expect_not(record_bool(record, FACT_SYNTHETIC));
    cr_expect(record_is_null(record, FACT_LOG_TAIL));
    tear_down(&bench);
}

Test(drive_trial, raw_samples_hold_every_block_and_the_warm_up)
{
    struct bench bench;
    set_up(&bench);
    run_fault(&bench, "none none x");
    char id[HASH_ID_BYTES];
    cell_id(&bench.cell, id);
    char path[FILE_PATH_BYTES];
    snprintf(path, sizeof(path), "%s/samples/%s.0.jsonl", bench.dir, id);
    struct buf text;
    buf_init(&text, 1 << 20);
    struct err err = {0};
    cr_assert_eq(file_read_all(path, &text, &err), STATUS_OK, "%s", err.text);
    int warmup = 0;
    int steady = 0;
    char *rest = text.data;
    for (char *line; (line = strsep(&rest, "\n")) != NULL && line[0] != '\0';) {
        json_t *object = json_loads(line, 0, NULL);
        cr_assert_not_null(object, "%s", line);
        int samples = (int)json_array_size(json_object_get(object, "ns"));
        bool is_warmup = strcmp(json_string_value(json_object_get(object, "phase")), "warmup") == 0;
        *(is_warmup ? &warmup : &steady) += samples;
        json_decref(object);
    }
    cr_expect_eq(warmup, 2);
    cr_expect_eq(steady, 6);
    buf_release(&text);
    tear_down(&bench);
}

Test(drive_trial, synthetic_figures_carry_no_host_measured_fact)
{
    struct bench bench;
    set_up(&bench);
    run_fault(&bench, "synthetic none x");
    expect(&bench, "ok", NULL);
    static const enum fact_id fields[] = {
        FACT_START_MS,    FACT_LOAD_MS,      FACT_HARNESS_MS,  FACT_MAXRSS_MB,
        FACT_CPU_USER_S,  FACT_CPU_SYSTEM_S, FACT_RSS_PEAK_MB, FACT_CONTEXT_SWITCHES,
        FACT_PEAK_MEM_MB, FACT_COMPILE_MS};
    for (size_t i = 0; i < ARRAY_COUNT(fields); i++)
        cr_expect(record_is_null(bench.record, fields[i]), "%s", fact_of(fields[i])->name);
    cr_expect(record_bool(bench.record, FACT_SYNTHETIC));
    cr_expect_str_eq(record_string(bench.record, FACT_FRAMEWORK), "hostile-sandbox");
    tear_down(&bench);
}

Test(drive_trial, a_precision_that_is_not_met_is_unsteady_only_where_it_was_asked_for)
{
    for (int is_asked = 0; is_asked < 2; is_asked++) {
        struct bench bench;
        set_up(&bench);
        bench.options.policy.steps_exact = 0;
        bench.options.policy.time_max_ns = 1; /* capped after one block, too few for an interval */
        bench.options.policy.is_target_asked = is_asked;
        run_fault(&bench, "none none x");
        expect(&bench, is_asked ? "unsteady" : "ok", is_asked ? "target_ci_not_met" : NULL);
        expect_warning(&bench, is_asked ? "samples_min_not_reached" : "target_ci_not_met");
        cr_expect_gt(record_u64(bench.record, FACT_STEPS), 0);
        tear_down(&bench);
    }
}

Test(drive_trial, what_the_harness_costs_is_apart_from_the_data)
{
    struct bench bench;
    set_up(&bench); /* 6 steps in 3 blocks */
    run_fault(&bench, "slow run4 0.3");
    cr_expect_geq(record_double(bench.record, FACT_HARNESS_OUTSIDE_MS), 300);
    cr_expect_lt(record_double(bench.record, FACT_HARNESS_OUTSIDE_MS), (double)bench.took_ms);
    cr_expect_float_eq(record_double(bench.record, FACT_HARNESS_INSIDE_MS), 0, 1e-12);
    cr_expect_float_eq(record_double(bench.record, FACT_HARNESS_PERCENT),
                       100 * record_double(bench.record, FACT_HARNESS_OUTSIDE_MS) / 600e-6, 1);
    cr_expect(record_is_null(bench.record, FACT_PREPARE_MS));
    /* Two answers and a wait of 0.3 s: some looks around, far less than the wait itself. */
    double cpu_ms = record_double(bench.record, FACT_HARNESS_CPU_PERCENT) / 100 * 600e-6;
    cr_expect(cpu_ms > 0 && cpu_ms < 150, "%g ms", cpu_ms);
    tear_down(&bench);
    set_up(&bench);
    run_fault(&bench, "prepare none x");
    double prepare_ms = record_double(bench.record, FACT_PREPARE_MS);
    cr_expect_geq(prepare_ms, 300);
    cr_expect_lt(record_double(bench.record, FACT_HARNESS_OUTSIDE_MS), prepare_ms);
    cr_expect_float_eq(record_double(bench.record, FACT_OBSERVE_MS), 3e-3, 1e-12);
    tear_down(&bench);
    set_up(&bench);
    run_fault(&bench, "with run4 '{\"window_ns\":600,\"step_ns\":[100,200]}'");
    cr_expect_float_eq(record_double(bench.record, FACT_HARNESS_INSIDE_MS), 300e-6, 1e-12);
    tear_down(&bench);
    set_up(&bench);
    run_fault(&bench, "synthetic none x");
    cr_expect_str_eq(record_null_reason(bench.record, FACT_HARNESS_PERCENT), "synthetic");
    cr_expect_str_eq(record_null_reason(bench.record, FACT_HARNESS_CPU_PERCENT), "synthetic");
    tear_down(&bench);
}

/* 40 steps of 100 ns, then 40 of `second_ns`. */
static void run_creeping(struct bench *bench, int second_ns, double limit_percent)
{
    char fault[32];
    set_up(bench);
    bench->options.policy.steps_exact = 80;
    bench->options.policy.warmup_steps = 0;
    bench->options.drift_limit_percent = limit_percent;
    snprintf(fault, sizeof(fault), "creep run21 %d", second_ns); /* the first block is one step */
    run_fault(bench, fault);
}

Test(drive_trial, a_level_that_moves_is_warned_of_unless_nobody_asks)
{
    struct bench bench;
    run_creeping(&bench, 110, 1);
    expect(&bench, "ok", NULL);
    expect_warning(&bench, "drift");
    cr_expect_float_eq(record_double(bench.record, FACT_DRIFT_PERCENT), 10, 1e-9);
    cr_expect_float_eq(record_double(bench.record, FACT_DRIFT_PERCENT_LOW), 10, 1e-9);
    cr_expect_gt(record_double(bench.record, FACT_DRIFT_SLOPE_PERCENT), 5);
    tear_down(&bench);
    run_creeping(&bench, 110, 0);
    expect(&bench, "ok", NULL);
    cr_expect_float_eq(record_double(bench.record, FACT_DRIFT_PERCENT), 10, 1e-9);
    tear_down(&bench);
    run_creeping(&bench, 101, 0.5);
    cr_expect_float_eq(record_double(bench.record, FACT_DRIFT_PERCENT), 1, 1e-9);
    cr_expect_null(strstr(record_string(bench.record, FACT_WARNINGS), "\"drift\""),
                   "a tick of the clock is no drift");
    tear_down(&bench);
}

Test(drive_trial, a_command_that_cannot_be_split_is_an_error)
{
    struct bench bench;
    set_up(&bench);
    struct err err = {0};
    static const char *const bad[] = {"exec:python3 'x", "exec:", "exec:  "};
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        snprintf(bench.cell.engine, sizeof(bench.cell.engine), "%s", bad[i]);
        cr_expect_eq(trial_run(&bench.cell, 0, &bench.options, bench.store, &bench.record, &err),
                     STATUS_INVALID, "%s", bad[i]);
    }
    tear_down(&bench);
}

Test(drive_trial, a_launch_prefix_goes_before_the_command)
{
    struct bench bench;
    set_up(&bench);
    bench.options.client.launch_prefix = "sh -c '>&2 echo launched by \"$0\"; exec \"$@\"' 'a b'";
    run_fault(&bench, "signal run 9 x");
    expect(&bench, "crashed", "killed_by_signal");
    const char *tail = record_string(bench.record, FACT_LOG_TAIL);
    cr_expect(strstr(tail, "launched by a b") != NULL, "%s", tail);
    tear_down(&bench);
}

/* A row a field. */
Test(drive_trial, the_policy_id_follows_what_changes_a_figure)
{
    const struct measure_policy base = measure_policy_default();
    char ids[20][HASH_ID_BYTES];
    char same[HASH_ID_BYTES];
    size_t count = 0;
    trial_policy_id(&base, NULL, ids[count++]);
    trial_policy_id(&base, "", same);
    cr_expect_str_eq(ids[0], same);
    trial_policy_id(&base, "ssh box", ids[count++]);
    cr_expect_str_neq(ids[0], ids[1]);
#define CHANGED(assignment)                                           \
    {                                                                 \
        struct measure_policy policy = base;                          \
        assignment;                                                   \
        trial_policy_id(&policy, NULL, ids[count]);                   \
        for (size_t i = 0; i < count; i++)                            \
            cr_expect_str_neq(ids[count], ids[i], "%s", #assignment); \
        count++;                                                      \
    }
    CHANGED(policy.steps_exact = 400)
    CHANGED(policy.target_ci_percent *= 2)
    CHANGED(policy.is_target_asked = true)
    CHANGED(policy.time_max_ns *= 3)
    CHANGED(policy.time_min_ns += 7)
    CHANGED(policy.samples_min += 5)
    CHANGED(policy.is_warmup_auto = false)
    CHANGED(policy.warmup_steps += 9)
    CHANGED(policy.warmup_steps_max += 9)
    CHANGED(policy.warmup_time_max_ns += 9)
    CHANGED(policy.is_sync_per_block = true)
    CHANGED(policy.block_target_ns += 9)
    CHANGED(policy.block_steps_max += 9)
#undef CHANGED
}
