/* report/chart.h - the charts of a report: what is drawn over what, which points are one series,
 * and which series share a chart. A terminal and a page draw the same ones. */
#ifndef REPORT_CHART_H
#define REPORT_CHART_H

#include "report/model.h"

/* X(name, id, title): the questions that a report answers, in their order. */
#define REPORT_SECTION_MAP(X)                              \
    X(FAST, "fast", "What is fast?")                       \
    X(FITS, "fits", "What fits?")                          \
    X(TRUST, "trust", "Can I trust it?")                   \
    X(LIMIT, "limit", "How far from the machine's limit?") \
    X(CHANGED, "changed", "What has changed?")

enum report_section {
#define X(name, id, title) REPORT_SECTION_##name,
    REPORT_SECTION_MAP(X)
#undef X
        REPORT_SECTIONS_COUNT
};
const char *report_section_id(enum report_section section);
const char *report_section_title(enum report_section section);

/* More series than this are told apart badly: they go to charts of their own. */
#define CHART_SERIES_MAX 8
/* More charts of one kind than this nobody looks at. */
#define CHARTS_OF_KIND_MAX 60
/* Points of a series beyond this are thinned: every second, third ... is kept. */
#define CHART_POINTS_MAX 400

enum chart_kind { CHART_LINES, CHART_POINTS, CHART_BARS };

struct chart_axis {
    const char *title, *unit; /* borrowed: from the report, or static */
    bool is_log, floats;      /* floats: it need not begin at 0 */
};

/* Texts are borrowed from the report; "" = none. */
struct chart_point {
    const struct report_cell *cell; /* borrowed from the report; NULL = of several */
    double x;                       /* NaN: `label` is its place, in CHART_BARS */
    struct report_value y;
    const char *label, *note, *failed;
    bool is_front; /* CHART_POINTS: no other of its series is better in both */
};

struct chart_series {
    const char *name; /* borrowed from the report */
    size_t points, points_count;
};

/* Texts are borrowed, as above. */
struct chart {
    enum report_section section;
    enum chart_kind kind;
    const char *title, *caption;
    struct chart_axis x, y;
    size_t series, series_count;
    bool is_main; /* a terminal shows it, too */
};

/* Lists of all charts, their series and their points; zeroed: empty. */
struct charts {
    struct chart *charts;        /* owned */
    struct chart_series *series; /* owned; of charts[0], then of charts[1] ... */
    struct chart_point *points;  /* owned; the same of series */
    size_t charts_count, series_count, points_count;
    size_t charts_capacity, series_capacity, points_capacity;
    size_t left_out;      /* charts over CHARTS_OF_KIND_MAX */
    size_t thinned_count; /* points that are not there */
};

/* `charts` is zeroed; it borrows from the report, which keeps its texts. */
MUST_CHECK enum status charts_make(struct report *report, struct charts *charts, struct err *err);
void charts_release(struct charts *charts);

/* --- for the files that make charts --- */

/* Starts a chart, a series of it, and puts a point. STATUS_NOMEM. */
MUST_CHECK enum status charts_begin(struct charts *charts, const struct chart *chart,
                                    struct err *err);
MUST_CHECK enum status charts_begin_series(struct charts *charts, const char *name,
                                           struct err *err);
MUST_CHECK enum status charts_put(struct charts *charts, const struct chart_point *point,
                                  struct err *err);

/* Memory by part, losses, and whole courses of them: made by charts_make(). */
MUST_CHECK enum status charts_make_parts(struct report *report, struct charts *charts,
                                         struct err *err);
MUST_CHECK enum status charts_make_losses(struct report *report, struct charts *charts,
                                          struct err *err);
MUST_CHECK enum status charts_make_curves(struct report *report, struct charts *charts,
                                          struct err *err);

#endif
