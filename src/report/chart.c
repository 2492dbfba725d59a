#include "report/chart.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* What is drawn over what. Texts are static: borrowed. */
struct recipe {
    enum report_section section;
    enum chart_kind kind;
    enum report_key x; /* SEQ or BATCH of lines */
    const char *what;  /* in the title */
    const char *caption;
    const char *y_title, *unit;
    struct report_value (*y)(const struct report_cell *cell);
    bool is_main, floats, is_y_log;
};

/* A list of cells at work: sorted anew for each chart. All is borrowed, but for the list. */
struct chart_work {
    struct report *report;
    struct charts *charts;
    const struct recipe *recipe;
    const struct report_cell **cells; /* owned */
    size_t made_count;                /* charts of this recipe */
    bool has_seqs;                    /* the panel at work has several sequence lengths */
};

/* --- what is drawn --- */

static struct report_value throughput(const struct report_cell *cell)
{
    return cell->tokens_per_sec;
}

static struct report_value latency(const struct report_cell *cell)
{
    return cell->ms;
}

static struct report_value peak_memory(const struct report_cell *cell)
{
    bool is_measured = !isnan(cell->peak_mb);
    return (struct report_value){is_measured ? cell->peak_mb : cell->predicted_mb, NAN, NAN};
}

static struct report_value achieved(const struct report_cell *cell)
{
    double flop = cell->flops_per_sec * cell->ms.value;
    return (struct report_value){cell->flops_per_sec / 1e9, flop / cell->ms.high / 1e9,
                                 flop / cell->ms.low / 1e9};
}

static struct report_value share_of_peak(const struct report_cell *cell)
{
    return (struct report_value){report_share_of_peak(cell), NAN, NAN};
}

static struct report_value energy(const struct report_cell *cell)
{
    return (struct report_value){1e3 * cell->joules_per_token, NAN, NAN};
}

#define INTERVALS "Whiskers are 95 % intervals. "
#define FAILURES  "A cross is a cell without a result."

static const struct recipe recipes[] = {
    {.section = REPORT_SECTION_FAST,
     .x = REPORT_KEY_SEQ,
     .what = "throughput by sequence length",
     .y_title = "throughput",
     .caption = "Higher is better. " INTERVALS FAILURES,
     .unit = "tokens/s",
     .y = throughput,
     .is_main = true},
    {.section = REPORT_SECTION_FAST,
     .x = REPORT_KEY_SEQ,
     .what = "latency by sequence length",
     .y_title = "median step",
     .caption = "Median step, lower is better; both scales are logarithmic. " INTERVALS FAILURES,
     .unit = "ms",
     .y = latency,
     .is_y_log = true},
    {.section = REPORT_SECTION_FAST,
     .x = REPORT_KEY_BATCH,
     .what = "scaling with batch size",
     .y_title = "throughput",
     .caption =
         "A line that rises gains from larger batches; a flat one does not. " INTERVALS FAILURES,
     .unit = "tokens/s",
     .y = throughput,
     .is_main = true},
    {.section = REPORT_SECTION_FAST,
     .kind = CHART_POINTS,
     .what = "throughput against latency",
     .y_title = "throughput",
     .caption = "Each mark is a cell. Those on a line are the best trade: no other of the series "
                "is both faster and sooner done.",
     .unit = "tokens/s",
     .y = throughput,
     .is_y_log = true},
    {.section = REPORT_SECTION_FAST,
     .kind = CHART_BARS,
     .what = "throughput",
     .y_title = "throughput",
     .caption = "Higher is better.",
     .unit = "tokens/s",
     .y = throughput,
     .is_main = true},
    {.section = REPORT_SECTION_FITS,
     .x = REPORT_KEY_SEQ,
     .what = "peak memory by sequence length",
     .y_title = "peak memory",
     .caption = "Measured peak; predicted where nothing was measured. " FAILURES,
     .unit = "MiB",
     .y = peak_memory},
    {.section = REPORT_SECTION_LIMIT,
     .x = REPORT_KEY_SEQ,
     .what = "share of the peak",
     .y_title = "share",
     .caption = "Of the best matmul that `tokmark peak` measured (MFU), for decode of the best "
                "read; of the datasheet's where no peak was measured. Higher is closer. " FAILURES,
     .unit = "%",
     .y = share_of_peak},
    {.section = REPORT_SECTION_LIMIT,
     .x = REPORT_KEY_SEQ,
     .what = "energy a token",
     .y_title = "energy",
     .caption = "Lower is better. " FAILURES,
     .unit = "mJ/token",
     .y = energy},
    {.section = REPORT_SECTION_LIMIT,
     .x = REPORT_KEY_SEQ,
     .what = "achieved arithmetic",
     .y_title = "arithmetic",
     .caption = "The step's floating-point operations, counted from the model, over its median "
                "time. Higher is closer to the limit.",
     .unit = "GFLOP/s",
     .y = achieved},
};

/* --- sorting --- */

struct order {
    enum report_key keys[REPORT_KEYS_COUNT + 1];
    size_t count;
};

static int compare_by(const void *a, const void *b, void *context)
{
    const struct order *order = context;
    const struct report_cell *const *left = a;
    const struct report_cell *const *right = b;
    for (size_t i = 0; i < order->count; i++) {
        int result = report_cell_compare(*left, *right, order->keys[i]);
        if (result != 0)
            return result;
    }
    return *left < *right ? -1 : *left > *right;
}

static bool is_same(const struct report_cell *a, const struct report_cell *b, unsigned keys)
{
    for (enum report_key key = 0; key < REPORT_KEYS_COUNT; key++)
        if ((keys >> key & 1) != 0 && report_cell_compare(a, b, key) != 0)
            return false;
    return true;
}

/* Cells from `cells` on that are the same in `keys`. */
static size_t run_of(const struct report_cell *const *cells, size_t count, unsigned keys)
{
    size_t length = 1;
    while (length < count && is_same(cells[0], cells[length], keys))
        length++;
    return length;
}

static size_t count_runs(const struct report_cell *const *cells, size_t count, unsigned keys)
{
    size_t runs = 0;
    for (size_t i = 0; i < count; i += run_of(cells + i, count - i, keys))
        runs++;
    return runs;
}

static size_t count_distinct(const struct report_cell **cells, size_t count, enum report_key key)
{
    uint32_t first = key == REPORT_KEY_SEQ ? cells[0]->seq_len : cells[0]->batch_size;
    size_t distinct = 1;
    for (size_t i = 1; i < count && distinct == 1; i++)
        distinct += (key == REPORT_KEY_SEQ ? cells[i]->seq_len : cells[i]->batch_size) != first;
    return distinct;
}

static unsigned bit(enum report_key key)
{
    return 1U << key;
}

static const unsigned panel_keys =
    1U << REPORT_KEY_MODEL | 1U << REPORT_KEY_DEVICE | 1U << REPORT_KEY_MODE;

static unsigned series_keys(const struct recipe *recipe)
{
    unsigned shape = bit(REPORT_KEY_SEQ) | bit(REPORT_KEY_BATCH);
    unsigned all = bit(REPORT_KEY_ENGINE) | bit(REPORT_KEY_PRECISION) | bit(REPORT_KEY_SOURCE);
    return recipe->kind == CHART_LINES  ? all | (shape & ~bit(recipe->x))
           : recipe->kind == CHART_BARS ? all | shape
                                        : all;
}

/* --- a chart --- */

static const char *name_of(struct chart_work *work, const struct report_cell *cell, unsigned keys)
{
    struct buf text CLEANUP(buf_release) = {0};
    buf_init(&text, TEXTS_BYTES_MAX);
    report_cell_name(work->report, cell, keys, &text);
    return texts_keep(&work->report->texts, text.data);
}

static const char *note_of(struct chart_work *work, const struct report_cell *cell)
{
    struct report_texts *texts = &work->report->texts;
    const char *verdict = cell->verdict == VERDICT_OK ? "" : verdict_name(cell->verdict);
    if (!cell->has_result)
        return cell->reason;
    if (verdict[0] == '\0' && cell->warnings[0] == '\0')
        return "";
    return texts_keepf(texts, "%s%s%s%s", verdict,
                       verdict[0] != '\0' && cell->warnings[0] != '\0' ? "; " : "",
                       cell->warnings[0] != '\0' ? "warnings: " : "", cell->warnings);
}

static struct chart_point point_of(struct chart_work *work, const struct report_cell *cell)
{
    const struct recipe *recipe = work->recipe;
    struct chart_point point = {.cell = cell, .y = recipe->y(cell), .label = "", .failed = ""};
    point.note = note_of(work, cell);
    if (recipe->kind == CHART_LINES)
        point.x = recipe->x == REPORT_KEY_SEQ ? cell->seq_len : cell->batch_size;
    else
        point.x = cell->ms.value;
    if (!cell->has_result) {
        point.failed = verdict_name(cell->verdict);
        point.y = (struct report_value){NAN, NAN, NAN};
    }
    if (recipe->kind == CHART_POINTS)
        point.label = name_of(work, cell, bit(REPORT_KEY_SEQ) | bit(REPORT_KEY_BATCH));
    return point;
}

static bool is_drawn(const struct chart_work *work, const struct report_cell *cell)
{
    if (!cell->has_result)
        return work->recipe->kind == CHART_LINES;
    return isfinite(work->recipe->y(cell).value) &&
           (work->recipe->kind == CHART_LINES || cell->ms.value > 0);
}

/* Those that no other has less time and more tokens than. By time, so that one pass tells. */
static void mark_front(struct chart_point *points, size_t count)
{
    double best = -INFINITY;
    for (size_t i = 0; i < count; i++) {
        points[i].is_front = points[i].y.value > best;
        best = fmax(best, points[i].y.value);
    }
}

static int compare_points(const void *a, const void *b)
{
    const struct chart_point *left = a;
    const struct chart_point *right = b;
    if (left->x != right->x)
        return left->x < right->x ? -1 : 1;
    return left->y.value > right->y.value ? -1 : left->y.value < right->y.value;
}

static enum status put_series(struct chart_work *work, const struct report_cell **cells,
                              size_t count, const char *name, struct err *err)
{
    struct charts *charts = work->charts;
    size_t every = (count + CHART_POINTS_MAX - 1) / CHART_POINTS_MAX;
    TRY(charts_begin_series(charts, name, err));
    for (size_t i = 0; i < count; i++) {
        if (!is_drawn(work, cells[i]))
            continue;
        if (i % every != 0 && i + 1 < count) {
            charts->thinned_count++;
            continue;
        }
        struct chart_point point = point_of(work, cells[i]);
        TRY(charts_put(charts, &point, err));
    }
    if (work->recipe->kind == CHART_POINTS) {
        const struct chart_series *series = &charts->series[charts->series_count - 1];
        qsort(charts->points + series->points, series->points_count, sizeof(*charts->points),
              compare_points);
        mark_front(charts->points + series->points, series->points_count);
    }
    return STATUS_OK;
}

/* "train, superintelligence-tiny on cpu, fp32: throughput by sequence length (2 of 3)" */
static const char *title_of(struct chart_work *work, const struct report_cell *cell, unsigned keys,
                            size_t number, size_t total)
{
    const struct report *report = work->report;
    unsigned shown = bit(REPORT_KEY_MODE);
    for (enum report_key key = 0; key < REPORT_KEYS_COUNT; key++)
        shown |= (keys & bit(key)) != 0 && report->is_varied[key] ? bit(key) : 0;
    const char *name = name_of(work, cell, shown);
    if (total < 2)
        return texts_keepf(&work->report->texts, "%.300s: %s", name, work->recipe->what);
    return texts_keepf(&work->report->texts, "%.300s: %s (%zu of %zu)", name, work->recipe->what,
                       number, total);
}

/* Keys of the series that are not the same for all of a chart; engine and precision if all are. */
static unsigned varied_keys(const struct report_cell **cells, size_t count, unsigned keys)
{
    unsigned varied = 0;
    for (enum report_key key = 0; key < REPORT_KEYS_COUNT; key++)
        for (size_t i = 1; (keys & bit(key)) != 0 && i < count; i++)
            if (report_cell_compare(cells[0], cells[i], key) != 0) {
                varied |= bit(key);
                break;
            }
    return varied != 0 ? varied
                       : (keys & (bit(REPORT_KEY_SEQ) | bit(REPORT_KEY_BATCH))) |
                             bit(REPORT_KEY_ENGINE) | bit(REPORT_KEY_PRECISION);
}

/* Cells of one chart, sorted by series: at most CHART_SERIES_MAX of them. */
static enum status put_chart(struct chart_work *work, const struct report_cell **cells,
                             size_t count, const char *title, struct err *err)
{
    const struct recipe *recipe = work->recipe;
    bool has_any = false;
    for (size_t i = 0; i < count; i++)
        has_any |= is_drawn(work, cells[i]) && cells[i]->has_result;
    if (!has_any)
        return STATUS_OK;
    if (work->made_count == CHARTS_OF_KIND_MAX) {
        work->charts->left_out++;
        return STATUS_OK;
    }
    work->made_count++;
    bool is_seq = recipe->x == REPORT_KEY_SEQ;
    const struct chart chart = {
        .section = recipe->section,
        .kind = recipe->kind,
        .title = title,
        .caption = recipe->caption,
        .x = recipe->kind == CHART_POINTS
                 ? (struct chart_axis){.title = "median step", .unit = "ms", .is_log = true}
                 : (struct chart_axis){.title = is_seq ? "sequence length" : "batch size",
                                       .unit = is_seq ? "tokens" : "rows",
                                       .is_log = true},
        .y = {.title = recipe->y_title, .unit = recipe->unit, .is_log = recipe->is_y_log},
        .is_main = recipe->is_main && (is_seq || !work->has_seqs),
    };
    unsigned keys = series_keys(recipe);
    unsigned names = varied_keys(cells, count, keys);
    TRY(charts_begin(work->charts, &chart, err));
    for (size_t i = 0; i < count;) {
        size_t length = run_of(cells + i, count - i, keys);
        TRY(put_series(work, cells + i, length, name_of(work, cells[i], names), err));
        i += length;
    }
    return STATUS_OK;
}

/* Engines beside each other where there is but one shape: a bar each. */
static enum status put_bars(struct chart_work *work, const struct report_cell **cells, size_t count,
                            const char *title, struct err *err)
{
    const struct chart chart = {.section = work->recipe->section,
                                .kind = CHART_BARS,
                                .title = title,
                                .caption = work->recipe->caption,
                                .x = {.title = "cell", .unit = ""},
                                .y = {.title = work->recipe->y_title, .unit = work->recipe->unit},
                                .is_main = work->recipe->is_main};
    unsigned names = varied_keys(cells, count, series_keys(work->recipe)) | bit(REPORT_KEY_ENGINE);
    TRY(charts_begin(work->charts, &chart, err));
    TRY(charts_begin_series(work->charts, "throughput", err));
    for (size_t i = 0; i < count; i++) {
        struct chart_point point = point_of(work, cells[i]);
        point.x = NAN;
        point.label = name_of(work, cells[i], names);
        TRY(charts_put(work->charts, &point, err));
    }
    return STATUS_OK;
}

static void sort_cells(const struct chart_work *work, const struct report_cell **cells,
                       size_t count, unsigned first)
{
    struct order order = {.count = 0};
    unsigned then = series_keys(work->recipe);
    for (enum report_key key = 0; key < REPORT_KEYS_COUNT; key++)
        if ((first & bit(key)) != 0)
            order.keys[order.count++] = key;
    for (enum report_key key = 0; key < REPORT_KEYS_COUNT; key++)
        if ((first & bit(key)) == 0 && (then & bit(key)) != 0)
            order.keys[order.count++] = key;
    order.keys[order.count++] = work->recipe->x;
    qsort_r(cells, count, sizeof(void *), compare_by, &order);
}

/* Keys by which the cells go to charts of their own, so that none has too many series. */
static unsigned split_keys(const struct chart_work *work, const struct report_cell **cells,
                           size_t count)
{
    static const enum report_key apart[] = {REPORT_KEY_PRECISION, REPORT_KEY_ENGINE,
                                            REPORT_KEY_SOURCE};
    unsigned keys = panel_keys;
    for (size_t step = 0;; step++) {
        size_t most = 0;
        sort_cells(work, cells, count, keys);
        for (size_t i = 0; i < count;) {
            size_t length = run_of(cells + i, count - i, keys);
            size_t runs = count_runs(cells + i, length, series_keys(work->recipe));
            most = runs > most ? runs : most;
            i += length;
        }
        if (most <= CHART_SERIES_MAX || step == ARRAY_COUNT(apart))
            return keys;
        keys |= bit(apart[step]);
    }
}

/* Cells that are the same in `keys`: where they are too many series still, eight after the other.
 */
static enum status put_group(struct chart_work *work, const struct report_cell **cells,
                             size_t count, unsigned keys, struct err *err)
{
    const unsigned series = series_keys(work->recipe);
    size_t charts = (count_runs(cells, count, series) + CHART_SERIES_MAX - 1) / CHART_SERIES_MAX;
    size_t at = 0;
    for (size_t number = 1; number <= charts; number++) {
        size_t from = at;
        for (size_t i = 0; i < CHART_SERIES_MAX && at < count; i++)
            at += run_of(cells + at, count - at, series);
        const char *title = title_of(work, cells[from], keys, number, charts);
        TRY(work->recipe->kind == CHART_BARS
                ? put_bars(work, cells + from, at - from, title, err)
                : put_chart(work, cells + from, at - from, title, err));
    }
    return STATUS_OK;
}

/* All charts of a model, device and mode. */
static enum status put_panel(struct chart_work *work, const struct report_cell **cells,
                             size_t count, struct err *err)
{
    bool has_seqs = work->has_seqs = count_distinct(cells, count, REPORT_KEY_SEQ) > 1;
    bool has_batches = count_distinct(cells, count, REPORT_KEY_BATCH) > 1;
    bool has_x = work->recipe->x == REPORT_KEY_SEQ ? has_seqs : has_batches;
    if (work->recipe->kind == CHART_LINES && !has_x)
        return STATUS_OK;
    if (work->recipe->kind == CHART_BARS && (has_seqs || has_batches || count < 2))
        return STATUS_OK;
    if (work->recipe->kind == CHART_POINTS && count < 3)
        return STATUS_OK;
    unsigned keys = split_keys(work, cells, count);
    for (size_t i = 0; i < count;) {
        size_t length = run_of(cells + i, count - i, keys);
        TRY(put_group(work, cells + i, length, keys, err));
        i += length;
    }
    return STATUS_OK;
}

static enum status put_recipe(struct chart_work *work, size_t count, struct err *err)
{
    work->made_count = 0;
    for (size_t i = 0; i < count; i++)
        work->cells[i] = &work->report->cells[i];
    for (size_t i = 0; i < count;) {
        size_t length = run_of(work->cells + i, count - i, panel_keys);
        TRY(put_panel(work, work->cells + i, length, err));
        i += length;
    }
    return STATUS_OK;
}

enum status charts_make(struct report *report, struct charts *charts, struct err *err)
{
    struct chart_work work = {.report = report, .charts = charts};
    size_t count = report->cells_count;
    enum status status = STATUS_OK;
    work.cells = calloc(count > 0 ? count : 1, sizeof(void *));
    if (work.cells == NULL)
        return ERR(err, STATUS_NOMEM, "no memory for charts");
    for (size_t i = 0; status == STATUS_OK && i < ARRAY_COUNT(recipes); i++) {
        work.recipe = &recipes[i];
        status = put_recipe(&work, count, err);
    }
    free(work.cells);
    if (status == STATUS_OK)
        status = charts_make_parts(report, charts, err);
    if (status == STATUS_OK)
        status = charts_make_losses(report, charts, err);
    if (status == STATUS_OK)
        status = charts_make_curves(report, charts, err);
    if (status == STATUS_OK && report->texts.failed)
        status = ERR(err, STATUS_NOMEM, "no memory for the texts of charts");
    return status;
}
