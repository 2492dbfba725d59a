#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <jansson.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "drive/trial.h"
#include "parse_line.h"
#include "small_model.h"

/* Every fault is made by tests/protocol/hostile_worker.py, which is well-behaved otherwise. */

struct bench {
    char dir[64];
    struct store *store;
    struct cell cell;
    struct trial_options options;
    struct record *record;
    uint64_t took_ms;
};

static void set_up(struct bench *bench)
{
    memset(bench, 0, sizeof(*bench));
    snprintf(bench->dir, sizeof(bench->dir), "drive_XXXXXX");
    cr_assert_not_null(mkdtemp(bench->dir));
    struct err err = {0};
    struct store_facts facts;
    cr_assert_eq(store_open(bench->dir, &bench->store, &facts, &err), STATUS_OK, "%s", err.text);
    bench->cell = (struct cell){.model = small_model(),
                                .model_source = "factory",
                                .device = "cpu",
                                .framework = "hostile",
                                .precision = CELL_PRECISION_FP32,
                                .mode = CELL_MODE_INFER,
                                .seq_len = 8,
                                .batch_size = 2,
                                .data = CELL_DATA_SYNTHETIC};
    bench->options = (struct trial_options){.policy = measure_policy_default(),
                                            .client = {.self_path = TOKMARK_BINARY,
                                                       .phase_timeout_ns = 20 * NS_PER_S,
                                                       .kill_grace_ns = 300 * NS_PER_MS,
                                                       .wake_fd = -1},
                                            .origin = {.run_id = "run",
                                                       .command_json = "[\"tokmark\"]",
                                                       .environment_json = "{}",
                                                       .environment_id = "env"}};
    bench->options.policy.steps_exact = 6;
    bench->options.policy.is_warmup_auto = false;
    bench->options.policy.warmup_steps = 2;
    bench->options.policy.block_steps_max = 2;
}

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *where)
{
    (void)info;
    (void)kind;
    (void)where;
    return remove(path);
}

static void tear_down(struct bench *bench)
{
    record_free(bench->record);
    store_close(bench->store);
    nftw(bench->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* Is there any living process with `marker` in its command line? */
static bool is_left(const char *marker)
{
    DIR *dir = opendir("/proc");
    struct dirent *entry;
    bool found = false;
    while (!found && (entry = readdir(dir)) != NULL) {
        pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);
        if (pid <= 0 || pid == getpid())
            continue;
        char path[300];
        char text[4096] = "";
        snprintf(path, sizeof(path), "/proc/%s/cmdline", entry->d_name);
        int fd = open(path, O_RDONLY);
        ssize_t got = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);
        close(fd);
        found = got > 0 && memmem(text, (size_t)got, marker, strlen(marker)) != NULL;
    }
    closedir(dir);
    return found;
}

/* Runs one trial against the hostile worker: "FAULT PHASE ARGUMENT". */
static void run_engine(struct bench *bench, const char *engine)
{
    snprintf(bench->cell.engine, sizeof(bench->cell.engine), "%s", engine);
    struct err err = {0};
    uint64_t before = clock_now_ns();
    cr_assert_eq(trial_run(&bench->cell, 0, &bench->options, bench->store, &bench->record, &err),
                 STATUS_OK, "%s", err.text);
    bench->took_ms = (clock_now_ns() - before) / NS_PER_MS;
    cr_assert_eq(waitpid(-1, NULL, WNOHANG), -1, "a child is left");
    cr_assert_eq(errno, ECHILD);
    for (int i = 0; is_left(bench->dir); i++) { /* the dying need a moment to be gone */
        cr_assert_lt(i, 100, "a process is left");
        usleep(20000);
    }
}

static void run_fault(struct bench *bench, const char *fault)
{
    char engine[CELL_PATH_BYTES];
    snprintf(engine, sizeof(engine),
             "exec:python3 -I -S '%s/tests/protocol/hostile_worker.py' %s %s", TOKMARK_SOURCE_DIR,
             fault, bench->dir);
    run_engine(bench, engine);
}

static json_t *first_reason(const struct bench *bench)
{
    json_t *reasons = json_loads(record_string(bench->record, FACT_REASONS), 0, NULL);
    json_t *first = json_incref(json_array_get(reasons, 0));
    json_decref(reasons);
    return first;
}

static void expect(const struct bench *bench, const char *verdict, const char *code)
{
    struct buf line;
    buf_init(&line, 1 << 20);
    record_format_json(bench->record, &line);
    cr_expect_str_eq(record_string(bench->record, FACT_VERDICT), verdict, "%s", line.data);
    json_t *reason = first_reason(bench);
    const char *found = json_string_value(json_object_get(reason, "code"));
    if (code == NULL)
        cr_expect_null(found, "%s", line.data);
    else if (strcmp(code, "*") != 0)
        cr_expect(found != NULL && strcmp(found, code) == 0, "wanted %s: %s", code, line.data);
    json_decref(reason);
    struct parser *parser = parse_new();
    cr_expect_eq(parse_line(parser, line.data, line.length_bytes), PARSER_RECORD, "%s",
                 parser_why(parser));
    parser_free(parser);
    buf_release(&line);
}

static void expect_warning(const struct bench *bench, const char *code)
{
    cr_expect(reasons_have(record_reasons(bench->record, FACT_WARNINGS), code), "no %s: %s", code,
              record_string(bench->record, FACT_WARNINGS));
}

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
    cr_expect_lt(bench.took_ms, 15000, "%s took %d ms", fault, (int)bench.took_ms);
    tear_down(&bench);
}

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

Test(drive_trial, a_hang_is_a_timeout_that_names_its_phase)
{
    check_fault("hang hello x", "timeout", "timeout_start", 500);
    check_fault("hang open x", "timeout", "timeout_open", 1000);
    check_fault("hang run x", "timeout", "timeout_warmup", 1000);
    check_fault("hang run3 x", "timeout", "timeout_measure", 1000);
    check_fault("hang memory x", "timeout", "timeout_measure", 1000);
    check_fault("hang close x", "timeout", "timeout_close", 1000);
    check_fault("linger close x", "timeout", "timeout_close", 1000);
    check_fault("drip run x", "timeout", "timeout_warmup", 1000);
    check_fault("ignore-term open x", "timeout", "timeout_open", 1000);
}

Test(drive_trial, figures_that_were_whole_are_kept_when_the_worker_fails_later)
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

Test(drive_trial, a_crash_says_how_and_quotes_the_log)
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

Test(drive_trial, what_breaks_the_protocol_is_named)
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

Test(drive_trial, blocks_that_lie_are_refused)
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

Test(drive_trial, error_replies_become_verdicts)
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

Test(drive_trial, figures_that_cannot_stand_are_invalid)
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

Test(drive_trial, a_worker_over_its_memory_limit_is_ended)
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

Test(drive_trial, nothing_outlives_a_worker)
{
    check_fault("grandchild run 0", "crashed", "exited", 0);
    check_fault("grandchild close 4", "crashed", "exited", 0);
}

Test(drive_trial, a_flood_on_standard_error_neither_blocks_nor_fills_the_disk)
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

Test(drive_trial, a_program_that_cannot_start_is_a_record)
{
    struct bench bench;
    set_up(&bench);
    run_engine(&bench, "exec:no-such-program-here --flag");
    expect(&bench, "crashed", "start_failed");
    cr_expect(record_is_null(bench.record, FACT_WORKER_EXIT));
    cr_expect(record_is_null(bench.record, FACT_STEPS), "never 0 for what is not known");
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

Test(drive_trial, an_interrupt_keeps_the_running_block_when_it_ends_in_time)
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

Test(drive_trial, an_interrupt_does_not_wait_for_a_block_without_end)
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

Test(drive_trial, a_second_interrupt_ends_a_block_at_once)
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

Test(drive_trial, an_interrupt_ends_a_start_at_once)
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
