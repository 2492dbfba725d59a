#include "cli/render/ab_progress.h"

#include <math.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/num.h"
#include "cli/render/terminal.h"
#include "cli/signals.h"

#define REDRAW_INTERVAL_NS (100 * NS_PER_MS)
#define LINE_BYTES_MAX     512

void ab_progress_init(struct ab_progress *progress, bool is_quiet, size_t total)
{
    *progress = (struct ab_progress){
        .is_quiet = is_quiet,
        .is_rewriting = !is_quiet && terminal_is_smart(STDERR_FILENO),
        .total = total,
    };
}

static const char *phase_text(enum event_phase phase)
{
    switch (phase) {
    case EVENT_STARTING:
    case EVENT_OPENING: return "opening both";
    case EVENT_WARMUP: return "warming up";
    case EVENT_WAITING: return "waiting for idle CPUs";
    case EVENT_MEASURING:
    case EVENT_CHECKING: return "comparing";
    case EVENT_CLOSING: return "closing";
    }
    return "";
}

/* What is left out first where a line has no room for all of it. */
enum detail { DETAIL_INTERVAL, DETAIL_CELL, DETAILS_COUNT };

static void describe_from(const struct ab_progress *progress, enum detail first, struct buf *out)
{
    const struct compare_result *last = &progress->last;
    bool has_cell = first <= DETAIL_CELL;
    buf_appendf(out, "[%zu/%zu] %s%s%s", progress->number, progress->total,
                has_cell ? progress->what : "", has_cell ? ": " : "", phase_text(progress->phase));
    if (progress->rounds_count > 0)
        buf_appendf(out, ", %zu round%s", progress->rounds_count,
                    num_plural(progress->rounds_count));
    if (!progress->has_last || !last->log_ratio_ci.is_known)
        return;
    buf_appendf(out, ", B/A %+.2f %%", 100 * expm1(last->log_ratio));
    if (first <= DETAIL_INTERVAL)
        buf_appendf(out, " [%+.2f, %+.2f]", 100 * expm1(last->log_ratio_ci.low),
                    100 * expm1(last->log_ratio_ci.high));
}

/* In `columns`, where it can be; 0 = no limit. */
static void describe(const struct ab_progress *progress, size_t columns, struct buf *out)
{
    for (int first = 0; first <= DETAILS_COUNT; first++) {
        buf_reset(out);
        describe_from(progress, (enum detail)first, out);
        if (columns == 0 || out->length_bytes <= columns)
            return;
    }
}

void ab_progress_clear(struct ab_progress *progress)
{
    if (progress->has_line)
        fputs("\r\x1b[K", stderr);
    progress->has_line = false;
}

static void refresh(struct ab_progress *progress)
{
    bool is_asked = signals_take_status();
    bool is_due =
        progress->is_rewriting && clock_now_ns() - progress->drawn_ns >= REDRAW_INTERVAL_NS;
    if (!is_asked && !is_due)
        return;
    struct buf line;
    buf_init(&line, LINE_BYTES_MAX);
    ab_progress_clear(progress);
    if (is_asked) {
        describe(progress, 0, &line);
        fprintf(stderr, "%s\n", line.data);
    }
    if (is_due) {
        /* The last column stays free: some terminals wrap when it is written. */
        size_t columns = terminal_columns(STDERR_FILENO);
        columns = columns > 1 ? columns - 1 : LINE_BYTES_MAX;
        describe(progress, columns, &line);
        fprintf(stderr, "\r%.*s\x1b[K", (int)columns, line.data);
        (void)fflush(stderr);
        progress->has_line = true;
        progress->drawn_ns = clock_now_ns();
    }
    buf_release(&line);
}

/* A line of its own, whether or not another is rewritten. */
static void say(struct ab_progress *progress, const char *text)
{
    if (progress->is_quiet)
        return;
    ab_progress_clear(progress);
    fprintf(stderr, "[%zu/%zu] %s: %s\n", progress->number, progress->total, progress->what, text);
}

void ab_progress_begin(struct ab_progress *progress, size_t number, const char *what,
                       const struct ab_options *options)
{
    struct buf text;
    progress->number = number;
    (void)snprintf(progress->what, sizeof(progress->what), "%s", what);
    progress->phase = EVENT_OPENING;
    progress->rounds_count = 0;
    progress->has_last = false;
    buf_init(&text, LINE_BYTES_MAX);
    buf_append_text(&text, "started: ");
    ab_setup_describe_time(options, &text);
    say(progress, text.data);
    buf_release(&text);
    refresh(progress);
}

void ab_progress_end(struct ab_progress *progress, const char *outcome)
{
    say(progress, outcome);
}

/* What starting and compiling add is known now. */
static void on_planned(void *context, const struct sequence *sequence)
{
    char prepare[NUM_TEXT_BYTES];
    char left[NUM_TEXT_BYTES];
    char text[LINE_BYTES_MAX];
    size_t count = sequence->planned_count;
    num_format_duration(sequence->first_prepare_ns, prepare);
    num_format_duration(sequence_left_ns(sequence), left);
    (void)snprintf(text, sizeof(text), "preparing took %s; %s%zu start%s, %s %s", prepare,
                   count > 1 && sequence->rule.rounds_exact == 0 ? "at most " : "", count,
                   num_plural(count), sequence->rule.rounds_exact > 0 ? "about" : "at most", left);
    say(context, text);
}

static void on_changed(void *context, enum event_phase phase, size_t rounds_count,
                       const struct compare_result *last)
{
    struct ab_progress *progress = context;
    progress->phase = phase;
    progress->rounds_count = rounds_count;
    progress->has_last = last != NULL;
    if (last != NULL)
        progress->last = *last;
    refresh(progress);
}

static void on_tick(void *context)
{
    refresh(context);
}

struct pair_listener ab_progress_listener(struct ab_progress *progress)
{
    return (struct pair_listener){
        .context = progress, .changed = on_changed, .planned = on_planned};
}

struct event_listener ab_progress_events(struct ab_progress *progress)
{
    return (struct event_listener){.context = progress, .tick = on_tick};
}
