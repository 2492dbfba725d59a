#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "hud/panels.h"

#define TEXT_BYTES  1024
#define LABEL_END   10
#define VALUE_WIDTH 22
#define MIB_MAX     1e12

static const char *phase_word(const char *phase)
{
    static const struct {
        const char *name, *word;
    } words[] = {{"start", "starting the worker"},
                 {"open", "opening the model"},
                 {"warmup", "warming up"},
                 {"measure", "measuring"},
                 {"wait", "waiting for others to leave the CPUs"},
                 {"close", "closing"}};
    for (size_t i = 0; i < ARRAY_COUNT(words); i++)
        if (strcmp(phase, words[i].name) == 0)
            return words[i].word;
    return phase;
}

static void draw_name(struct screen *screen, const struct board *board,
                      const struct screen_facts *facts, size_t row)
{
    struct canvas *canvas = &screen->canvas;
    const struct board_run *run = &board->run;
    const struct view all = {.has_several = {false}};
    size_t end = canvas->columns - 1;
    char text[TEXT_BYTES];
    char age[NUM_TEXT_BYTES];
    struct buf name;
    if (!run->is_at_work) {
        (void)canvas_put(canvas, row, 1, end, CANVAS_DIM, "between cells");
        return;
    }
    buf_init(&name, TEXT_BYTES);
    if (run->is_canary)
        buf_append_text(&name, "canary: ");
    if (run->place != LOOKUP_NONE)
        view_describe_place(&all, board, run->place, false, &name);
    size_t at = canvas_put(canvas, row, 1, end, CANVAS_WORK, "\xE2\x96\xB6 ");
    at = canvas_put(canvas, row, at, end, CANVAS_BOLD, name.data);
    if (run->trials_count > 1 && !run->is_canary)
        at = canvas_putf(canvas, row, at, end, CANVAS_PLAIN, "  trial %" PRIu64 "/%" PRIu64,
                         run->trial + 1, run->trials_count);
    at = canvas_putf(canvas, row, at, end, CANVAS_PLAIN, "  %s", phase_word(run->phase));
    buf_release(&name);
    bool is_measuring = strcmp(run->phase, "measure") == 0;
    uint64_t spent_ns = facts->now_ns > run->cell_begin_ns ? facts->now_ns - run->cell_begin_ns : 0;
    bool has_eta = is_measuring && run->remaining_ms > 0;
    screen_format_age(has_eta ? (uint64_t)(fmin(run->remaining_ms, 1e12) * (double)NS_PER_MS) +
                                    NS_PER_S - 1
                              : spent_ns,
                      age);
    (void)snprintf(text, sizeof(text), has_eta ? "eta %s" : "%s", age);
    if (at + 2 < end)
        canvas_put_right(canvas, row, at + 2, end, CANVAS_PLAIN, text);
}

/* The newest of a series in so many columns, each the mean of as many values as it takes. */
static void draw_series(struct screen *screen, const struct board_series *series, size_t row,
                        size_t begin, size_t end, double low, double high)
{
    size_t columns = end - begin;
    size_t count = series->count < columns ? series->count : columns;
    double span = high > low ? high - low : 1;
    for (size_t i = 0; i < count; i++) {
        size_t at = series->count - count + i;
        double level = (board_series_at(series, at) - low) / span;
        canvas_put_level(&screen->canvas, row, begin + i,
                         board_series_is_marked(series, at) ? CANVAS_DIM : CANVAS_GRAPH, level);
    }
}

/* Of those that a row of so many columns shows. */
static void find_span(const struct board_series *series, size_t columns, double *ret_low,
                      double *ret_high)
{
    size_t count = series->count < columns ? series->count : columns;
    *ret_low = INFINITY;
    *ret_high = -INFINITY;
    for (size_t i = series->count - count; i < series->count; i++) {
        double value = board_series_at(series, i);
        *ret_low = fmin(*ret_low, value);
        *ret_high = fmax(*ret_high, value);
    }
}

static void draw_steps(struct screen *screen, const struct board_run *run, size_t row)
{
    struct canvas *canvas = &screen->canvas;
    size_t end = canvas->columns - 1;
    size_t right = end > VALUE_WIDTH + LABEL_END ? end - VALUE_WIDTH : end;
    double low = 0;
    double high = 0;
    char value[NUM_TEXT_BYTES];
    (void)canvas_put(canvas, row, 1, end, CANVAS_DIM, "step ms");
    if (run->steps.count == 0)
        return;
    find_span(&run->steps, right - LABEL_END, &low, &high);
    /* A steady series is a low line, not noise blown up to the full height. */
    double floor = low - 0.15 * low;
    draw_series(screen, &run->steps, row, LABEL_END, right, floor, fmax(high, low + 0.3 * low));
    screen_format_value(run->step_ms, value);
    char text[TEXT_BYTES];
    (void)snprintf(text, sizeof(text), "%s ms", value);
    canvas_put_right(canvas, row, right, end, CANVAS_BOLD, text);
}

static void draw_widths(struct screen *screen, const struct board_run *run, size_t row)
{
    struct canvas *canvas = &screen->canvas;
    size_t end = canvas->columns - 1;
    size_t right = end > VALUE_WIDTH + LABEL_END ? end - VALUE_WIDTH : end;
    double low = 0;
    double high = 0;
    (void)canvas_put(canvas, row, 1, end, CANVAS_DIM, "95% \xC2\xB1");
    if (run->widths.count == 0) {
        (void)canvas_put(canvas, row, LABEL_END, end, CANVAS_DIM,
                         strcmp(run->phase, "measure") == 0 ? "no interval yet" : "");
        return;
    }
    find_span(&run->widths, right - LABEL_END, &low, &high);
    draw_series(screen, &run->widths, row, LABEL_END, right, 0, high);
    char text[TEXT_BYTES];
    (void)snprintf(text, sizeof(text), "\xC2\xB1%.2g %%",
                   board_series_at(&run->widths, run->widths.count - 1));
    canvas_put_right(canvas, row, right, end, CANVAS_BOLD, text);
}

static void draw_numbers(struct screen *screen, const struct board *board, size_t row)
{
    struct canvas *canvas = &screen->canvas;
    const struct board_run *run = &board->run;
    size_t end = canvas->columns - 1;
    size_t at = LABEL_END;
    char text[NUM_TEXT_BYTES];
    char low[NUM_TEXT_BYTES];
    char high[NUM_TEXT_BYTES];
    (void)canvas_put(canvas, row, 1, end, CANVAS_DIM, "median");
    if (isfinite(run->median_ms)) {
        screen_format_value(run->median_ms, text);
        at = canvas_putf(canvas, row, at, end, CANVAS_BOLD, "%s ms", text);
        if (isfinite(run->median_low)) {
            screen_format_value(run->median_low, low);
            screen_format_value(run->median_high, high);
            at = canvas_putf(canvas, row, at, end, CANVAS_PLAIN, "  [%s, %s]", low, high);
        }
        at = canvas_put(canvas, row, at, end, CANVAS_PLAIN, "  ");
    }
    if (run->samples_count > 0)
        at = canvas_putf(canvas, row, at, end, CANVAS_PLAIN, "%" PRIu64 " samples",
                         run->samples_count);
    else if (run->steps_done > 0)
        at = canvas_putf(canvas, row, at, end, CANVAS_PLAIN, "%" PRIu64 " step%s", run->steps_done,
                         num_plural(run->steps_done));
    if (run->set_aside_count > 0)
        (void)canvas_putf(canvas, row, at, end, CANVAS_WARN, "  %" PRIu64 " set aside",
                          run->set_aside_count);
}

/* Whatever a line says. */
static uint64_t bytes_of(double mib)
{
    return (uint64_t)(fmin(fmax(mib, 0), MIB_MAX) * 1048576);
}

static void draw_memory(struct screen *screen, const struct board_run *run, size_t row)
{
    struct canvas *canvas = &screen->canvas;
    size_t end = canvas->columns - 1;
    size_t at = LABEL_END;
    char text[NUM_TEXT_BYTES];
    (void)canvas_put(canvas, row, 1, end, CANVAS_DIM, "memory");
    if (isfinite(run->rss_mb)) {
        num_format_bytes(bytes_of(run->rss_mb), text);
        at = canvas_putf(canvas, row, at, end, CANVAS_PLAIN, "%s", text);
        if (isfinite(run->available_mb)) {
            num_format_bytes(bytes_of(run->available_mb), text);
            at = canvas_putf(canvas, row, at, end, CANVAS_DIM, "  %s free", text);
        }
        double total = run->rss_mb + run->available_mb;
        if (isfinite(total) && total > 0 && at + 26 < end) {
            canvas_put_bar(canvas, row, at + 2, at + 14, CANVAS_GRAPH, run->rss_mb / total);
            at += 14;
        }
    }
    if (isfinite(run->loss))
        (void)canvas_putf(canvas, row, at, end, CANVAS_PLAIN, "  loss %.4g", run->loss);
}

size_t panel_now(struct screen *screen, const struct board *board, const struct screen_facts *facts,
                 size_t top, size_t rows_count)
{
    const struct board_run *run = &board->run;
    draw_name(screen, board, facts, top);
    if (rows_count == 1)
        return top + 1;
    draw_steps(screen, run, top + 1);
    if (rows_count == 3) {
        draw_numbers(screen, board, top + 2);
        return top + 3;
    }
    draw_widths(screen, run, top + 2);
    draw_numbers(screen, board, top + 3);
    draw_memory(screen, run, top + 4);
    (void)canvas_put(&screen->canvas, top + 5, 1, LABEL_END, CANVAS_DIM, "machine");
    (void)canvas_put(&screen->canvas, top + 5, LABEL_END, screen->canvas.columns - 1, CANVAS_PLAIN,
                     run->telemetry);
    return top + 6;
}
