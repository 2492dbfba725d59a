#include "cli/render/progress.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/num.h"
#include "cli/render/table.h"
#include "cli/render/terminal.h"
#include "cli/signals.h"

#define LINE_BYTES_MAX     1024
#define REDRAW_INTERVAL_NS (100 * NS_PER_MS)
#define COLUMNS_DEFAULT    80

void progress_init(struct progress *progress, enum progress_style style, uint64_t cells_count,
                   uint64_t trials_total)
{
    *progress = (struct progress){.style = style, .trials_total = trials_total};
    progress_set_cells(progress, cells_count);
}

void progress_set_cells(struct progress *progress, uint64_t cells_count)
{
    progress->cells_total = cells_count * progress->trials_total;
}

static const char *phase_text(enum event_phase phase)
{
    switch (phase) {
    case EVENT_STARTING: return "starting the worker";
    case EVENT_OPENING: return "opening the model";
    case EVENT_WARMUP: return "warming up";
    case EVENT_MEASURING: return "measuring";
    case EVENT_WAITING: return "waiting for idle CPUs";
    case EVENT_CHECKING: return "checking";
    case EVENT_CLOSING: return "closing";
    }
    return "";
}

/* What is left out first where a line has no room for all of it. */
enum detail {
    DETAIL_SWEEP_ETA,
    DETAIL_CELL_ETA,
    DETAIL_RATE,
    DETAIL_CELL,
    DETAIL_SAMPLES,
    DETAILS_COUNT
};

static void append_number(const struct progress *progress, struct buf *out)
{
    if (progress->is_canary)
        buf_append_text(out, "[canary]");
    else
        buf_appendf(out, "[%" PRIu64 "/%" PRIu64 "]", progress->cells_done + 1,
                    progress->cells_total);
}

static void append_cell(const struct progress *progress, struct buf *out)
{
    const struct cell *cell = progress->cell;
    append_number(progress, out);
    char precision[2 * CELL_WORD_BYTES];
    cell_precision_text(cell, precision);
    buf_appendf(out, " %s %s seq %" PRIu32 " batch %" PRIu32, cell_mode_name(cell->mode), precision,
                cell->seq_len, cell->batch_size);
    if (progress->trials_total > 1 && !progress->is_canary)
        buf_appendf(out, " trial %" PRIu32 " of %" PRIu64, progress->trial + 1,
                    progress->trials_total);
}

/* Cells to come at the speed of those measured; before there is one, at that of the present one.
 * 0 = unknown. */
static uint64_t sweep_remaining_ns(const struct progress *progress)
{
    uint64_t to_come = progress->cells_total - progress->cells_done;
    bool is_known = progress->cells_measured > 0 || progress->remaining_ns > 0;
    if (progress->cell == NULL || to_come == 0 || !is_known)
        return 0;
    uint64_t each_ns = progress->cells_measured > 0
                           ? progress->measured_ns / progress->cells_measured
                           : clock_now_ns() - progress->cell_begin_ns + progress->remaining_ns;
    return progress->remaining_ns + (to_come - 1) * each_ns;
}

static void append_results(const struct progress *progress, enum detail first, struct buf *out)
{
    char text[NUM_TEXT_BYTES];
    if (progress->phase == EVENT_WARMUP) {
        num_format_duration(clock_now_ns() - progress->warmup_begin_ns, text);
        buf_appendf(out, ", steps %" PRIu64 ", %s", progress->warmup_steps_count, text);
    }
    if (progress->samples_count > 0) {
        if (first <= DETAIL_SAMPLES)
            buf_appendf(out, ", samples %" PRIu64, progress->samples_count);
        buf_appendf(out, ", ms_p50 %.4g", progress->median_ns / NS_PER_MS);
        num_format_count(progress->tokens_per_second, text);
        if (first <= DETAIL_RATE)
            buf_appendf(out, ", tokens_per_sec %s", text);
    }
    if (progress->phase == EVENT_MEASURING && progress->remaining_ns > 0 &&
        first <= DETAIL_CELL_ETA) {
        num_format_duration(progress->remaining_ns, text);
        buf_appendf(out, ", cell eta %s", text);
    }
    uint64_t sweep_ns = sweep_remaining_ns(progress);
    if (progress->cells_total > 1 && sweep_ns > 0 && first <= DETAIL_SWEEP_ETA) {
        num_format_duration(sweep_ns, text);
        buf_appendf(out, ", sweep eta %s", text);
    }
}

/* With the details from `first` on. */
static void describe(const struct progress *progress, enum detail first, struct buf *out)
{
    if (progress->cell == NULL) {
        buf_appendf(out, "[%" PRIu64 "/%" PRIu64 "] between cells", progress->cells_done,
                    progress->cells_total);
        return;
    }
    if (first <= DETAIL_CELL)
        append_cell(progress, out);
    else
        append_number(progress, out);
    buf_appendf(out, "%s %s", first <= DETAIL_CELL ? ":" : "", phase_text(progress->phase));
    append_results(progress, first, out);
}

void progress_describe(const struct progress *progress, size_t columns, struct buf *out)
{
    for (int first = 0; first <= DETAILS_COUNT; first++) {
        buf_reset(out);
        describe(progress, (enum detail)first, out);
        if (columns == 0 || out->length_bytes <= columns)
            return;
    }
}

static void redraw(struct progress *progress)
{
    struct buf line;
    size_t columns = terminal_columns(STDERR_FILENO);
    columns = columns > 0 ? columns : COLUMNS_DEFAULT;
    buf_init(&line, LINE_BYTES_MAX);
    /* The last column stays free: some terminals wrap when it is written. */
    progress_describe(progress, columns - 1, &line);
    size_t length = line.length_bytes < columns ? line.length_bytes : columns - 1;
    fprintf(stderr, "\r%.*s\x1b[K", (int)length, line.data);
    (void)fflush(stderr);
    buf_release(&line);
    progress->has_line = true;
    progress->drawn_ns = clock_now_ns();
}

void progress_clear(struct progress *progress)
{
    if (progress->has_line)
        fputs("\r\x1b[K", stderr);
    progress->has_line = false;
}

/* The rewritten line, not too often; and the status line, when SIGUSR1 asked for it. */
static void refresh(struct progress *progress)
{
    if (signals_take_status()) {
        struct buf line;
        buf_init(&line, LINE_BYTES_MAX);
        progress_describe(progress, 0, &line);
        progress_clear(progress);
        fprintf(stderr, "%s\n", line.data);
        buf_release(&line);
    }
    if (progress->style == PROGRESS_REWRITE &&
        clock_now_ns() - progress->drawn_ns >= REDRAW_INTERVAL_NS)
        redraw(progress);
}

static void on_cell_started(void *context, const struct event_cell *started)
{
    struct progress *progress = context;
    progress->cell = started->cell;
    progress->trial = started->trial;
    progress->is_canary = started->is_canary;
    progress->phase = EVENT_STARTING;
    progress->cell_begin_ns = clock_now_ns();
    progress->warmup_steps_count = 0;
    progress->steps_count = 0;
    progress->samples_count = 0;
    progress->median_ns = 0;
    progress->tokens_per_second = 0;
    progress->remaining_ns = 0;
    progress->figures_ns = 0;
    if (progress->style == PROGRESS_LINES) {
        struct buf line;
        buf_init(&line, LINE_BYTES_MAX);
        append_cell(progress, &line);
        fprintf(stderr, "%s: started\n", line.data);
        buf_release(&line);
    }
    refresh(progress);
}

static void on_phase_changed(void *context, enum event_phase phase)
{
    struct progress *progress = context;
    progress->phase = phase;
    if (phase == EVENT_WARMUP && progress->warmup_steps_count == 0)
        progress->warmup_begin_ns = clock_now_ns();
    refresh(progress);
}

static void on_block_done(void *context, const struct event_block *block)
{
    struct progress *progress = context;
    const struct measure_state *state = block->state;
    /* Blocks can be as short as a system call: this must cost nothing between redraws. */
    uint64_t now_ns = clock_now_ns();
    bool is_due = now_ns - progress->figures_ns >= REDRAW_INTERVAL_NS;
    progress->warmup_steps_count = state->warmup_steps_done;
    progress->samples_count = state->steady.count;
    progress->steps_count = state->steady_steps_done;
    if (is_due && state->steady.count > 0 && state->steady_ns > 0) {
        uint64_t tokens = cell_tokens_per_step(progress->cell) * state->steady_steps_done;
        progress->median_ns = measure_recent_median_ns(state);
        progress->tokens_per_second = (double)tokens * 1e9 / (double)state->steady_ns;
        progress->remaining_ns = measure_remaining_ns(state);
        progress->figures_ns = now_ns;
    }
    refresh(progress);
}

static void on_tick(void *context)
{
    refresh(context);
}

static void on_cell_finished(void *context, const struct record *record)
{
    struct progress *progress = context;
    uint64_t taken_ns = clock_now_ns() - progress->cell_begin_ns;
    if (progress->style != PROGRESS_NONE) {
        struct buf line;
        char text[NUM_TEXT_BYTES];
        buf_init(&line, 2 * LINE_BYTES_MAX);
        append_cell(progress, &line);
        buf_append_text(&line, ": ");
        table_describe_record(record, &line);
        num_format_duration(taken_ns, text);
        progress_clear(progress);
        fprintf(stderr, "%s (%s)\n", line.data, text);
        buf_release(&line);
    }
    progress->cell = NULL;
    if (!progress->is_canary) {
        progress->cells_done++;
        progress->cells_measured++;
        progress->measured_ns += taken_ns;
    }
    refresh(progress);
}

static void on_cell_skipped(void *context, const struct event_cell *cell)
{
    struct progress *progress = context;
    (void)cell;
    progress->cells_done++;
}

struct event_listener progress_listener(struct progress *progress)
{
    return (struct event_listener){
        .context = progress,
        .cell_started = on_cell_started,
        .phase_changed = on_phase_changed,
        .block_done = on_block_done,
        .tick = on_tick,
        .tick_ns = progress->style == PROGRESS_REWRITE ? 2 * REDRAW_INTERVAL_NS : 0,
        .cell_finished = on_cell_finished,
        .cell_skipped = on_cell_skipped,
    };
}
