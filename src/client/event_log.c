#include "client/event_log.h"

#include <math.h>
#include <stdio.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json_write.h"
#include "base/version.h"
#include "result/names.h"
#include "spec/facts.h"

#define LINE_BYTES_MAX ((size_t)1 << 20)
#define CONFIDENCE     0.95
#define BYTES_PER_MIB  (1024.0 * 1024.0)
/* The median and its interval are worked out anew when so many times their cost has passed: well
 * under MEASURE_OVERHEAD_PERCENT. */
#define MEDIAN_REST 4000

static const char *fact_name(enum fact_id id)
{
    return fact_of(id)->name;
}

/* --- lines --- */

static void begin_line(struct event_log *log, struct json_writer *writer, const char *event)
{
    buf_reset(&log->line);
    json_writer_init(writer, &log->line);
    json_begin_object(writer);
    json_field_string(writer, "event", event);
    json_field_u64(writer, "time_ms", clock_wall_ns() / NS_PER_MS);
    json_field_string(writer, fact_name(FACT_RUN_ID), log->run_id);
}

static void put_trial(struct json_writer *writer, const char *cell_id, uint32_t trial)
{
    json_field_string(writer, fact_name(FACT_CELL_ID), cell_id);
    json_field_u64(writer, fact_name(FACT_TRIAL), trial);
}

static void end_line(struct event_log *log, struct json_writer *writer)
{
    json_end_object(writer);
    buf_append_char(&log->line, '\n');
    enum status status =
        log->line.failed
            ? ERR(&log->err, STATUS_LIMIT, "an event is longer than %zu bytes", LINE_BYTES_MAX)
            : lines_append(&log->file, log->line.data, log->line.length_bytes, &log->err);
    if (status != STATUS_OK)
        lines_close(&log->file);
}

static bool is_open(const struct event_log *log)
{
    return log->run_id != NULL && log->file.fd >= 0;
}

/* --- the run --- */

static void put_cell(struct json_writer *writer, const struct cell *cell)
{
    char id[HASH_ID_BYTES];
    cell_id(cell, id);
    json_begin_object(writer);
    json_field_string(writer, fact_name(FACT_CELL_ID), id);
    json_field_string(writer, fact_name(FACT_FRAMEWORK), cell->framework);
    json_field_string(writer, fact_name(FACT_DEVICE), cell->device);
    json_field_string(writer, fact_name(FACT_MODEL), cell->model.name);
    json_field_string(writer, fact_name(FACT_PRECISION), cell_precision_name(cell->precision));
    json_field_string(writer, fact_name(FACT_MODE), cell_mode_name(cell->mode));
    json_field_u64(writer, fact_name(FACT_SEQ_LEN), cell->seq_len);
    json_field_u64(writer, fact_name(FACT_BATCH_SIZE), cell->batch_size);
    json_field_u64(writer, fact_name(FACT_TOKENS_PER_STEP), cell_tokens_per_step(cell));
    json_end_object(writer);
}

static void write_run(struct event_log *log, const struct event_log_run *run, size_t first)
{
    struct json_writer writer;
    const struct plan *plan = run->plan;
    begin_line(log, &writer, "run");
    json_field_u64(&writer, fact_name(FACT_SCHEMA), EVENT_LOG_SCHEMA);
    json_field_string(&writer, "tokmark_version", version_text());
    json_field_u64(&writer, "pid", (uint64_t)getpid());
    json_field_raw(&writer, "command", run->command_json);
    json_field_u64(&writer, "trials", run->trials);
    json_field_u64(&writer, "cells_count", plan->cells_count);
    json_field_u64(&writer, "first_cell", first);
    json_put_key(&writer, "cells");
    json_begin_array(&writer);
    for (size_t i = first; i < plan->cells_count && i - first < EVENT_LOG_CELLS_MAX; i++)
        put_cell(&writer, &plan->cells[i]);
    json_end_array(&writer);
    end_line(log, &writer);
}

void event_log_open(struct event_log *log, const char *dir, const struct event_log_run *run)
{
    char path[FILE_PATH_BYTES];
    *log = (struct event_log){.file = {.fd = -1}, .run_id = run->run_id, .loss = NAN};
    buf_init(&log->line, LINE_BYTES_MAX);
    if (file_join(dir, RESULT_EVENTS_NAME, path, &log->err) != STATUS_OK ||
        lines_open_repaired(&log->file, path, &log->err) != STATUS_OK)
        return;
    for (size_t first = 0; first < run->plan->cells_count && is_open(log);
         first += EVENT_LOG_CELLS_MAX)
        write_run(log, run, first);
}

void event_log_end(struct event_log *log, int exit_code)
{
    struct json_writer writer;
    if (!is_open(log))
        return;
    begin_line(log, &writer, "end");
    json_field_u64(&writer, "exit_code", (uint64_t)exit_code);
    end_line(log, &writer);
}

void event_log_close(struct event_log *log)
{
    if (log->run_id == NULL)
        return;
    lines_close(&log->file);
    buf_release(&log->line);
}

/* --- cells --- */

static void write_cell(struct event_log *log, const struct event_cell *cell, const char *state)
{
    struct json_writer writer;
    begin_line(log, &writer, "cell");
    put_trial(&writer, cell->cell_id, cell->trial);
    json_field_u64(&writer, "position", cell->position);
    json_field_bool(&writer, "is_sentinel", cell->is_canary);
    json_field_string(&writer, "state", state);
    end_line(log, &writer);
}

static void on_cell_started(void *context, const struct event_cell *cell)
{
    struct event_log *log = context;
    (void)snprintf(log->cell_id, sizeof(log->cell_id), "%s", cell->cell_id);
    log->trial = cell->trial;
    log->is_canary = cell->is_canary;
    log->is_measuring = false;
    log->steps_count = 0;
    log->window_ns = 0;
    log->loss = NAN;
    log->median_count = 0;
    log->median_due_ns = 0;
    log->told_ns = 0;
    log->has_memory = false;
    log->gauges.count = 0;
    log->machine_told_ns = 0;
    if (is_open(log))
        write_cell(log, cell, "started");
}

static void on_cell_skipped(void *context, const struct event_cell *cell)
{
    struct event_log *log = context;
    if (is_open(log))
        write_cell(log, cell, "skipped");
}

/* --- blocks --- */

/* Of all samples so far: now and then, as that takes longer the more there are, and when measuring
 * has ended. */
static void update_median(struct event_log *log, const struct measure_state *state)
{
    struct interval_quantile median;
    const struct measure_samples *samples = &state->steady;
    uint64_t before_ns = clock_now_ns();
    bool is_due = state->phase != MEASURE_STEADY || before_ns >= log->median_due_ns;
    if (samples->count == log->median_count || !is_due ||
        interval_of_median(samples->values, samples->count, CONFIDENCE, &median, NULL) != STATUS_OK)
        return;
    log->median_ns = median.value;
    log->median_95 = median.two_sided;
    log->median_count = samples->count;
    uint64_t after_ns = clock_now_ns();
    log->median_due_ns = after_ns + MEDIAN_REST * (after_ns - before_ns);
}

static void put_ms(struct json_writer *writer, enum fact_id id, bool is_known, double ns)
{
    json_field_double(writer, fact_name(id), is_known ? ns / NS_PER_MS : NAN);
}

static void put_figures(struct event_log *log, const struct measure_state *state,
                        struct json_writer *writer)
{
    update_median(log, state);
    bool is_known = log->median_count > 0;
    bool has_interval = is_known && log->median_95.is_known;
    json_field_u64(writer, fact_name(FACT_SAMPLES), state->steady.count);
    put_ms(writer, FACT_MS_P50, is_known, log->median_ns);
    put_ms(writer, FACT_MS_P50_LOW, has_interval, log->median_95.low);
    put_ms(writer, FACT_MS_P50_HIGH, has_interval, log->median_95.high);
    json_field_u64(writer, "median_samples", log->median_count);
    json_field_u64(writer, "set_aside_steps", state->aside_steps_done);
}

/* Those since the last line. */
static void write_blocks(struct event_log *log, const struct measure_state *state)
{
    struct json_writer writer;
    /* The block that ends a phase belongs to it. */
    bool is_steady = log->is_measuring;
    begin_line(log, &writer, "block");
    put_trial(&writer, log->cell_id, log->trial);
    json_field_string(&writer, "phase",
                      event_phase_name(is_steady ? EVENT_MEASURING : EVENT_WARMUP));
    json_field_u64(&writer, "steps_done",
                   is_steady ? state->steady_steps_done + state->aside_steps_done
                             : state->warmup_steps_done);
    json_field_u64(&writer, fact_name(FACT_STEPS), log->steps_count);
    json_field_u64(&writer, "window_ns", log->window_ns);
    put_ms(&writer, FACT_MS_PER_STEP, log->steps_count > 0,
           (double)log->window_ns / (double)log->steps_count);
    if (is_steady)
        put_figures(log, state, &writer);
    json_field_double(&writer, "remaining_ms",
                      (double)measure_remaining_ns(state) / (double)NS_PER_MS);
    json_field_double(&writer, "loss", log->loss);
    end_line(log, &writer);
    log->steps_count = 0;
    log->window_ns = 0;
    log->told_ns = clock_now_ns();
}

/* Each, and why it is null where it is. */
static void put_gauges(const struct gauges *gauges, struct json_writer *writer)
{
    for (size_t i = 0; i < gauges->count; i++) {
        const struct gauge *gauge = &gauges->list[i];
        json_field_double(writer, gauge_key(gauge->id),
                          gauge->missing == NULL ? gauge->value : NAN);
    }
    json_put_key(writer, "null_reasons");
    json_begin_object(writer);
    for (size_t i = 0; i < gauges->count; i++)
        if (gauges->list[i].missing != NULL)
            json_field_string(writer, gauge_key(gauges->list[i].id), gauges->list[i].missing);
    json_end_object(writer);
}

static void write_machine(struct event_log *log)
{
    struct json_writer writer;
    uint64_t now_ns = clock_now_ns();
    if (!log->has_memory ||
        (log->machine_told_ns != 0 && now_ns - log->machine_told_ns < EVENT_LOG_MACHINE_NS))
        return;
    log->has_memory = false;
    log->machine_told_ns = now_ns;
    begin_line(log, &writer, "telemetry");
    put_trial(&writer, log->cell_id, log->trial);
    json_field_double(&writer, "rss_mb", (double)log->memory.rss_bytes / BYTES_PER_MIB);
    json_field_double(&writer, "available_mb",
                      log->memory.available_bytes > 0
                          ? (double)log->memory.available_bytes / BYTES_PER_MIB
                          : NAN);
    put_gauges(&log->gauges, &writer);
    end_line(log, &writer);
}

static void on_block_done(void *context, const struct event_block *block)
{
    struct event_log *log = context;
    if (!is_open(log))
        return;
    log->steps_count += block->steps_count;
    log->window_ns += block->window_ns;
    log->loss = block->loss;
    bool is_due = clock_now_ns() - log->told_ns >= EVENT_LOG_BLOCK_NS;
    bool is_last = block->state->phase != (log->is_measuring ? MEASURE_STEADY : MEASURE_WARMUP);
    if (is_due || is_last)
        write_blocks(log, block->state);
    if (is_due && is_open(log))
        write_machine(log);
}

/* --- the rest --- */

static void on_phase_changed(void *context, enum event_phase phase)
{
    struct event_log *log = context;
    struct json_writer writer;
    if (phase != EVENT_WAITING) /* within a phase */
        log->is_measuring = phase == EVENT_MEASURING;
    if (!is_open(log))
        return;
    begin_line(log, &writer, "phase");
    put_trial(&writer, log->cell_id, log->trial);
    json_field_string(&writer, "phase", event_phase_name(phase));
    end_line(log, &writer);
    if (is_open(log))
        write_machine(log);
}

/* Inside a block, perhaps. */
static void on_memory_seen(void *context, const struct watch_look *look)
{
    struct event_log *log = context;
    log->memory = *look;
    log->has_memory = true;
}

static void on_machine_seen(void *context, const struct gauges *gauges)
{
    struct event_log *log = context;
    log->gauges = *gauges;
}

static void on_record_stored(void *context, const struct record *record, const char *file_name,
                             uint64_t offset)
{
    struct event_log *log = context;
    struct json_writer writer;
    if (!is_open(log))
        return;
    begin_line(log, &writer, "record");
    put_trial(&writer, record_string(record, FACT_CELL_ID),
              (uint32_t)record_u64(record, FACT_TRIAL));
    json_field_string(&writer, fact_name(FACT_VERDICT), record_string(record, FACT_VERDICT));
    json_field_string(&writer, "file", file_name);
    json_field_u64(&writer, "offset", offset);
    end_line(log, &writer);
}

struct event_listener event_log_listener(struct event_log *log)
{
    return (struct event_listener){
        .context = log,
        .cell_started = on_cell_started,
        .phase_changed = on_phase_changed,
        .block_done = on_block_done,
        .memory_seen = on_memory_seen,
        .machine_seen = on_machine_seen,
        .cell_skipped = on_cell_skipped,
        .record_stored = on_record_stored,
    };
}
