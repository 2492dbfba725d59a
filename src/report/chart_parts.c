/* Memory by part, and what training did to the loss, at its ends and step by step. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "report/chart.h"

#define ROWS_MAX 8

static bool shares_panel(const struct report_cell *a, const struct report_cell *b)
{
    return report_cell_compare(a, b, REPORT_KEY_MODEL) == 0 &&
           report_cell_compare(a, b, REPORT_KEY_DEVICE) == 0 &&
           report_cell_compare(a, b, REPORT_KEY_MODE) == 0;
}

static const char *name_of(struct report *report, const struct report_cell *cell, unsigned without)
{
    struct buf text CLEANUP(buf_release) = {0};
    buf_init(&text, TEXTS_BYTES_MAX);
    report_cell_name(report, cell, report_name_keys(report) & ~without, &text);
    return texts_keep(&report->texts, text.data);
}

static const char *title_of(struct report *report, const struct report_cell *cell, const char *what)
{
    struct buf text CLEANUP(buf_release) = {0};
    unsigned keys = 1U << REPORT_KEY_MODE;
    for (enum report_key key = REPORT_KEY_MODEL; key <= REPORT_KEY_DEVICE; key++)
        keys |= report->is_varied[key] ? 1U << key : 0;
    buf_init(&text, TEXTS_BYTES_MAX);
    report_cell_name(report, cell, keys, &text);
    return texts_keepf(&report->texts, "%.300s: %s", text.data, what);
}

#define PANEL_KEYS (1U << REPORT_KEY_MODEL | 1U << REPORT_KEY_DEVICE | 1U << REPORT_KEY_MODE)

/* --- memory by part --- */

static double sum_of(const struct report_cell *cell)
{
    double sum = 0;
    for (size_t i = 0; i < REPORT_PARTS_COUNT; i++)
        sum += isnan(cell->parts_mb[i]) ? 0 : cell->parts_mb[i];
    return sum;
}

/* The largest of the panel, the largest first. */
static size_t choose_rows(const struct report_cell *cells, size_t count,
                          const struct report_cell *rows[ROWS_MAX], size_t *ret_known)
{
    size_t rows_count = 0;
    *ret_known = 0;
    for (size_t i = 0; i < count; i++) {
        double sum = sum_of(&cells[i]);
        if (sum <= 0)
            continue;
        (*ret_known)++;
        size_t at = rows_count < ROWS_MAX ? rows_count++ : ROWS_MAX;
        if (at == ROWS_MAX && sum <= sum_of(rows[ROWS_MAX - 1]))
            continue;
        for (at = at < ROWS_MAX ? at : ROWS_MAX - 1; at > 0 && sum_of(rows[at - 1]) < sum; at--)
            rows[at] = rows[at - 1];
        rows[at] = &cells[i];
    }
    return rows_count;
}

static enum status put_parts(struct report *report, struct charts *charts,
                             const struct report_cell *cells, size_t count, struct err *err)
{
    const struct report_cell *rows[ROWS_MAX];
    size_t known = 0;
    size_t rows_count = choose_rows(cells, count, rows, &known);
    if (rows_count == 0)
        return STATUS_OK;
    const struct chart chart = {
        .section = REPORT_SECTION_FITS,
        .kind = CHART_BARS,
        .title = title_of(report, &cells[0], "memory by part"),
        .caption = known > rows_count
                       ? texts_keepf(&report->texts,
                                     "As the engine accounts for it. The %zu largest of %zu cells.",
                                     rows_count, known)
                       : "As the engine accounts for it.",
        .x = {.title = "cell", .unit = ""},
        .y = {.title = "memory", .unit = "MiB"}};
    TRY(charts_begin(charts, &chart, err));
    for (size_t part = 0; part < REPORT_PARTS_COUNT; part++) {
        bool has_any = false;
        for (size_t i = 0; i < rows_count; i++)
            has_any |= rows[i]->parts_mb[part] > 0;
        if (!has_any)
            continue;
        TRY(charts_begin_series(
            charts,
            strcmp(report_part_words[part], "kv_cache") == 0 ? "KV cache" : report_part_words[part],
            err));
        for (size_t i = 0; i < rows_count; i++) {
            const struct chart_point point = {.cell = rows[i],
                                              .x = NAN,
                                              .y = {rows[i]->parts_mb[part], NAN, NAN},
                                              .label = name_of(report, rows[i], PANEL_KEYS),
                                              .note = "",
                                              .failed = ""};
            if (point.y.value > 0)
                TRY(charts_put(charts, &point, err));
        }
    }
    return STATUS_OK;
}

typedef enum status put_panel(struct report *report, struct charts *charts,
                              const struct report_cell *cells, size_t count, struct err *err);

static enum status for_each_panel(struct report *report, struct charts *charts, put_panel *put,
                                  struct err *err)
{
    size_t panels = 0;
    for (size_t i = 0; i < report->cells_count;) {
        size_t length = 1;
        while (i + length < report->cells_count &&
               shares_panel(&report->cells[i], &report->cells[i + length]))
            length++;
        if (panels++ < CHARTS_OF_KIND_MAX)
            TRY(put(report, charts, &report->cells[i], length, err));
        else
            charts->left_out++;
        i += length;
    }
    return STATUS_OK;
}

enum status charts_make_parts(struct report *report, struct charts *charts, struct err *err)
{
    return for_each_panel(report, charts, put_parts, err);
}

/* --- loss --- */

static bool has_losses(const struct report_cell *cell)
{
    return strcmp(cell->mode, "train") == 0 && cell->steps > 1 && isfinite(cell->loss_first) &&
           isfinite(cell->loss_last);
}

/* Records have the loss at both ends of what was measured. */
static enum status put_losses(struct report *report, struct charts *charts,
                              const struct report_cell *cells, size_t count, struct err *err)
{
    size_t drawn = 0;
    for (size_t i = 0; i < count && drawn < CHART_SERIES_MAX; i++)
        drawn += has_losses(&cells[i]);
    if (drawn == 0)
        return STATUS_OK;
    const struct chart chart = {.section = REPORT_SECTION_TRUST,
                                .kind = CHART_LINES,
                                .title = title_of(report, &cells[0], "loss"),
                                .caption = "The loss of the first and of the last measured block: "
                                           "training that learns goes down. The first 8 cells.",
                                .x = {.title = "measured step", .unit = "", .floats = true},
                                .y = {.title = "loss", .unit = "nats", .floats = true}};
    TRY(charts_begin(charts, &chart, err));
    for (size_t i = 0; i < count && drawn > 0; i++) {
        if (!has_losses(&cells[i]))
            continue;
        drawn--;
        struct chart_point point = {.cell = &cells[i],
                                    .x = 1,
                                    .y = {cells[i].loss_first, NAN, NAN},
                                    .label = "",
                                    .note = "",
                                    .failed = ""};
        TRY(charts_begin_series(charts, name_of(report, &cells[i], PANEL_KEYS), err));
        TRY(charts_put(charts, &point, err));
        point.x = cells[i].steps;
        point.y.value = cells[i].loss_last;
        TRY(charts_put(charts, &point, err));
    }
    return STATUS_OK;
}

enum status charts_make_losses(struct report *report, struct charts *charts, struct err *err)
{
    return for_each_panel(report, charts, put_losses, err);
}

/* --- courses --- */

/* Every n-th step, and the last. */
static enum status put_curve(struct charts *charts, const struct report_curve *curve,
                             struct err *err)
{
    size_t every = (curve->count + CHART_POINTS_MAX - 1) / CHART_POINTS_MAX;
    TRY(charts_begin_series(charts, curve->name, err));
    for (size_t i = 0; i < curve->count; i++) {
        const struct chart_point point = {.x = (double)(i + 1),
                                          .y = {curve->losses[i], NAN, NAN},
                                          .label = "",
                                          .note = "",
                                          .failed = ""};
        if (!isfinite(curve->losses[i]))
            continue;
        if (i % every == 0 || i + 1 == curve->count)
            TRY(charts_put(charts, &point, err));
        else
            charts->thinned_count++;
    }
    return STATUS_OK;
}

enum status charts_make_curves(struct report *report, struct charts *charts, struct err *err)
{
    for (size_t i = 0; i < report->curves_count; i++) {
        const struct report_curve *curve = &report->curves[i];
        const char *name = report->sources[curve->source].name;
        const struct chart chart = {
            .section = REPORT_SECTION_TRUST,
            .kind = CHART_LINES,
            .title = report->sources_count > 1
                         ? texts_keepf(&report->texts, "%.300s: loss at each step", name)
                         : "loss at each step",
            .caption = "The newest trainings of `tokmark stability`. Engines that compute the same "
                       "lie on one another.",
            .x = {.title = "step", .unit = "", .floats = true},
            .y = {.title = "loss", .unit = "nats", .floats = true}};
        if (i == 0 || report->curves[i - 1].source != curve->source)
            TRY(charts_begin(charts, &chart, err));
        TRY(put_curve(charts, curve, err));
    }
    return STATUS_OK;
}
