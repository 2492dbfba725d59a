/* A chart as bars of text. */
#include <math.h>
#include <string.h>

#include "base/num.h"
#include "base/utf8.h"
#include "report/format.h"

#define COLUMNS_DEFAULT 100
#define BAR_MIN         8
#define BAR_MAX         60
#define LABEL_MAX       40
#define POINTS_SHOWN    64

struct plot {
    const struct chart *chart; /* borrowed */
    size_t label_width, bar_width;
    double most;
    bool is_ascii;
};

static void append_label(const struct chart_point *point, struct buf *out)
{
    if (point->label[0] != '\0')
        buf_append_text(out, point->label);
    else
        num_append_whole(point->x, out);
}

static void append_bar(const struct plot *plot, double value, struct buf *out)
{
    static const char *const parts[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
    double eighths = plot->most > 0 ? round(8 * (double)plot->bar_width * value / plot->most) : 0;
    size_t whole = (size_t)(eighths / 8);
    for (size_t i = 0; i < whole; i++)
        buf_append_text(out, plot->is_ascii ? "#" : "█");
    if (!plot->is_ascii)
        buf_append_text(out, parts[(size_t)eighths % 8]);
}

/* "  128  ██████ 1,200 (1,190 to 1,210)" */
static void append_point(const struct plot *plot, const struct chart_point *point, struct buf *out)
{
    struct buf label CLEANUP(buf_release) = {0};
    buf_init(&label, TEXTS_BYTES_MAX);
    append_label(point, &label);
    size_t width = utf8_columns(label.data);
    size_t pad = width < plot->label_width ? plot->label_width - width : 0;
    bool is_named = point->label[0] != '\0'; /* words to the left, numbers to the right */
    buf_appendf(out, "    %*s%s%*s  ", is_named ? 0 : (int)pad, "", label.data,
                is_named ? (int)pad : 0, "");
    if (point->failed[0] != '\0') {
        buf_appendf(out, "%s\n", point->failed);
        return;
    }
    size_t start = out->length_bytes;
    append_bar(plot, point->y.value, out);
    if (out->length_bytes > start)
        buf_append_char(out, ' ');
    num_append_short(point->y.value, out);
    if (isfinite(point->y.low) && isfinite(point->y.high)) {
        buf_append_text(out, " (");
        num_append_short(point->y.low, out);
        buf_append_text(out, " to ");
        num_append_short(point->y.high, out);
        buf_append_char(out, ')');
    }
    if (point->cell != NULL && point->cell->verdict != VERDICT_OK)
        buf_appendf(out, " %s", verdict_name(point->cell->verdict));
    buf_append_char(out, '\n');
}

static void measure(const struct document *document, const struct chart *chart, size_t columns,
                    struct plot *plot)
{
    static const char numbers[] = "  12,345 (12,345 to 12,345) unsteady";
    for (size_t s = 0; s < chart->series_count; s++) {
        const struct chart_series *series = &document->charts.series[chart->series + s];
        for (size_t p = 0; p < series->points_count; p++) {
            const struct chart_point *point = &document->charts.points[series->points + p];
            struct buf label CLEANUP(buf_release) = {0};
            buf_init(&label, TEXTS_BYTES_MAX);
            append_label(point, &label);
            size_t width = utf8_columns(label.data);
            width = width < LABEL_MAX ? width : LABEL_MAX;
            plot->label_width = width > plot->label_width ? width : plot->label_width;
            if (point->y.value > plot->most)
                plot->most = point->y.value;
        }
    }
    size_t taken = 4 + plot->label_width + sizeof(numbers);
    size_t left = columns > taken ? columns - taken : 0;
    plot->bar_width = left < BAR_MIN ? BAR_MIN : left > BAR_MAX ? BAR_MAX : left;
}

void report_append_plot(const struct document *document, const struct chart *chart, size_t columns,
                        bool is_ascii, struct buf *out)
{
    struct plot plot = {.chart = chart, .is_ascii = is_ascii};
    size_t shown = 0;
    size_t hidden = 0;
    measure(document, chart, columns > 0 ? columns : COLUMNS_DEFAULT, &plot);
    buf_appendf(out, "%s, %s\n", chart->title, chart->y.unit);
    for (size_t s = 0; s < chart->series_count; s++) {
        const struct chart_series *series = &document->charts.series[chart->series + s];
        if (chart->series_count > 1 && shown < POINTS_SHOWN)
            buf_appendf(out, "  %s\n", series->name);
        for (size_t p = 0; p < series->points_count; p++)
            if (shown++ < POINTS_SHOWN)
                append_point(&plot, &document->charts.points[series->points + p], out);
            else
                hidden++;
    }
    if (hidden > 0)
        buf_appendf(out, "  %zu more points: --format html:FILE shows them\n", hidden);
}
