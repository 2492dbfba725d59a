#include <criterion/criterion.h>
#include <jansson.h>
#include <math.h>
#include <string.h>

#include "client/event_log.h"
#include "result/names.h"
#include "scratch.h"

/* tests/cli/test_events.py looks at what a run tells; here is what a run does not come to. */

#define CELLS (2 * EVENT_LOG_CELLS_MAX + 3)

struct bench {
    char dir[FILE_PATH_BYTES];
    struct plan plan;
    struct event_log log;
};

static void set_up(struct bench *bench, size_t cells_count)
{
    memset(bench, 0, sizeof(*bench));
    scratch_new(bench->dir);
    bench->plan.cells_count = cells_count;
    bench->plan.cells = calloc(cells_count, sizeof(struct cell));
    cr_assert_not_null(bench->plan.cells);
    for (size_t i = 0; i < cells_count; i++)
        bench->plan.cells[i].seq_len = (uint32_t)i + 1;
    const struct event_log_run run = {
        .run_id = "r1", .command_json = "[]", .plan = &bench->plan, .trials = 1};
    event_log_open(&bench->log, bench->dir, &run);
}

static void tear_down(struct bench *bench)
{
    event_log_close(&bench->log);
    free(bench->plan.cells);
    scratch_free(bench->dir);
}

Test(client_event_log, a_long_plan_takes_several_lines)
{
    struct bench bench;
    set_up(&bench, CELLS);
    char *text = scratch_read(bench.dir, RESULT_EVENTS_NAME, NULL);
    size_t seen = 0;
    for (char *line = text; *line != '\0'; line = strchr(line, '\n') + 1) {
        json_t *run = json_loads(line, JSON_DISABLE_EOF_CHECK, NULL);
        const json_t *cells = json_object_get(run, "cells");
        cr_expect_eq(json_integer_value(json_object_get(run, "first_cell")), (json_int_t)seen);
        cr_expect_eq(json_integer_value(json_object_get(run, "cells_count")), CELLS);
        for (size_t i = 0; i < json_array_size(cells); i++)
            cr_expect_eq(json_integer_value(json_object_get(json_array_get(cells, i), "seq_len")),
                         (json_int_t)++seen);
        json_decref(run);
    }
    cr_expect_eq(seen, CELLS);
    free(text);
    tear_down(&bench);
}

/* As on a disk that is full. */
Test(client_event_log, a_failing_write_ends_the_log_and_nothing_else)
{
    struct bench bench;
    size_t before_bytes = 0;
    size_t after_bytes = 0;
    set_up(&bench, 1);
    const struct event_listener listener = event_log_listener(&bench.log);
    char *before = scratch_read(bench.dir, RESULT_EVENTS_NAME, &before_bytes);
    cr_assert_eq(close(bench.log.file.fd), 0);
    bench.log.file.fd = open("/dev/full", O_WRONLY);
    events_phase_changed(&listener, EVENT_OPENING);
    cr_expect_neq(bench.log.err.text[0], '\0');
    char said[ERR_TEXT_BYTES];
    memcpy(said, bench.log.err.text, sizeof(said));
    events_phase_changed(&listener, EVENT_WARMUP);
    event_log_end(&bench.log, 0);
    cr_expect_str_eq(bench.log.err.text, said);
    char *after = scratch_read(bench.dir, RESULT_EVENTS_NAME, &after_bytes);
    cr_expect_eq(after_bytes, before_bytes);
    free(before);
    free(after);
    tear_down(&bench);
}

/* What is seen of the memory while steps are timed is written behind the block. */
Test(client_event_log, memory_is_told_behind_a_block)
{
    struct bench bench;
    set_up(&bench, 1);
    const struct event_listener listener = event_log_listener(&bench.log);
    struct measure_state state;
    const struct measure_policy policy = measure_policy_default();
    measure_init(&state, &policy);
    const struct event_cell cell = {.cell = bench.plan.cells, .cell_id = "hc1"};
    events_cell_started(&listener, &cell);
    events_phase_changed(&listener, EVENT_WARMUP);
    const struct watch_look look = {.rss_bytes = 1 << 20};
    events_memory_seen(&listener, &look);
    char *text = scratch_read(bench.dir, RESULT_EVENTS_NAME, NULL);
    cr_expect_null(strstr(text, "telemetry"));
    free(text);
    const struct event_block block = {.state = &state, .steps_count = 3, .window_ns = 3000000};
    events_block_done(&listener, &block);
    text = scratch_read(bench.dir, RESULT_EVENTS_NAME, NULL);
    cr_expect_not_null(strstr(text, "\"steps\":3,\"window_ns\":3000000,\"ms_per_step\":1.0"));
    cr_expect_not_null(strstr(text, "\"rss_mb\":1.0,\"available_mb\":null"));
    free(text);
    measure_release(&state);
    tear_down(&bench);
}

/* What is known of the machine, and why the rest is not. */
Test(client_event_log, gauges_stand_in_telemetry_with_their_reasons)
{
    struct bench bench;
    set_up(&bench, 1);
    const struct event_listener listener = event_log_listener(&bench.log);
    struct gauges gauges = {.count = 0};
    const struct event_cell cell = {.cell = bench.plan.cells, .cell_id = "hc1"};
    events_cell_started(&listener, &cell);
    gauges_add(&gauges, GAUGE_GPU_SM_MHZ, 1755, NULL);
    gauges_add(&gauges, GAUGE_POWER_W, 0, "not_supported");
    events_machine_seen(&listener, &gauges);
    const struct watch_look look = {.rss_bytes = 1 << 20};
    events_memory_seen(&listener, &look);
    events_phase_changed(&listener, EVENT_MEASURING);
    char *text = scratch_read(bench.dir, RESULT_EVENTS_NAME, NULL);
    cr_expect_not_null(strstr(text, "\"gpu_sm_mhz\":1755.0,\"power_w\":null,"
                                    "\"null_reasons\":{\"power_w\":\"not_supported\"}"),
                       "%s", text);
    free(text);
    tear_down(&bench);
}

/* A state as measuring has it after so many samples of `ns`; borrowed: from `values`. */
static struct measure_state measured(double *values, size_t count, double ns)
{
    struct measure_state state;
    const struct measure_policy policy = measure_policy_default();
    measure_init(&state, &policy);
    for (size_t i = 0; i < count; i++)
        values[i] = ns;
    state.phase = MEASURE_STEADY;
    state.steady = (struct measure_samples){.values = values, .count = count, .capacity = count};
    state.steady_steps_done = count;
    return state;
}

/* What was said of one cell is not said of the next. */
Test(client_event_log, a_cell_begins_anew)
{
    struct bench bench;
    double values[8];
    set_up(&bench, 1);
    const struct event_listener listener = event_log_listener(&bench.log);
    const struct watch_look look = {.rss_bytes = 1 << 20};
    struct gauges gauges = {.count = 0};
    gauges_add(&gauges, GAUGE_CPU_MHZ, 1755, NULL);
    struct event_cell cell = {.cell = bench.plan.cells, .cell_id = "hc1", .trial = 2};
    events_cell_started(&listener, &cell);
    events_phase_changed(&listener, EVENT_MEASURING);
    struct measure_state state = measured(values, ARRAY_COUNT(values), 1e6);
    struct event_block block = {
        .state = &state, .steps_count = 8, .window_ns = 8000000, .loss = 3.5};
    events_machine_seen(&listener, &gauges);
    events_block_done(&listener, &block);
    events_memory_seen(&listener, &look);
    char *text = scratch_read(bench.dir, RESULT_EVENTS_NAME, NULL);
    cr_expect_not_null(strstr(text, "\"cell_id\":\"hc1\",\"trial\":2,\"phase\":\"measure\""));
    cr_expect_not_null(strstr(text, "\"ms_p50\":1.0"), "%s", text);
    cr_expect_not_null(strstr(text, "\"median_samples\":8"));
    cr_expect_not_null(strstr(text, "\"loss\":3.5"));
    size_t seen_bytes = strlen(text);
    free(text);
    cell = (struct event_cell){
        .cell = bench.plan.cells, .cell_id = "hc2", .trial = 3, .position = 5, .is_canary = true};
    events_cell_started(&listener, &cell);
    events_phase_changed(&listener, EVENT_WARMUP);
    text = scratch_read(bench.dir, RESULT_EVENTS_NAME, NULL);
    cr_expect_not_null(strstr(text + seen_bytes, "\"cell_id\":\"hc2\",\"trial\":3,\"position\":5,"
                                                 "\"is_sentinel\":true,\"state\":\"started\""),
                       "%s", text + seen_bytes);
    cr_expect_null(strstr(text + seen_bytes, "telemetry"), "of the worker before");
    free(text);
    events_memory_seen(&listener, &look);
    events_phase_changed(&listener, EVENT_MEASURING);
    state = measured(values, ARRAY_COUNT(values), 2e6);
    block.loss = NAN;
    events_block_done(&listener, &block);
    text = scratch_read(bench.dir, RESULT_EVENTS_NAME, NULL);
    cr_expect_not_null(strstr(text + seen_bytes, "\"rss_mb\":1.0"));
    cr_expect_null(strstr(text + seen_bytes, "cpu_mhz"), "%s", text + seen_bytes);
    cr_expect_not_null(strstr(text + seen_bytes, "\"steps\":8,\"window_ns\":8000000"));
    cr_expect_not_null(strstr(text + seen_bytes, "\"ms_p50\":2.0"), "%s", text + seen_bytes);
    cr_expect_not_null(strstr(text + seen_bytes, "\"loss\":null"));
    free(text);
    tear_down(&bench);
}

/* Waiting for others is within measuring: the block behind it is no warm-up. */
Test(client_event_log, a_pause_is_within_a_phase)
{
    struct bench bench;
    double values[8];
    set_up(&bench, 1);
    const struct event_listener listener = event_log_listener(&bench.log);
    const struct event_cell cell = {.cell = bench.plan.cells, .cell_id = "hc1"};
    events_cell_started(&listener, &cell);
    events_phase_changed(&listener, EVENT_MEASURING);
    events_phase_changed(&listener, EVENT_WAITING);
    struct measure_state state = measured(values, ARRAY_COUNT(values), 1e6);
    const struct event_block block = {.state = &state, .steps_count = 8, .window_ns = 8000000};
    events_block_done(&listener, &block);
    char *text = scratch_read(bench.dir, RESULT_EVENTS_NAME, NULL);
    const char *told = strstr(text, "\"event\":\"block\"");
    cr_assert_not_null(told);
    cr_expect_not_null(strstr(told, "\"phase\":\"measure\",\"steps_done\":8"), "%s", told);
    free(text);
    tear_down(&bench);
}
