/* The lists that charts are kept in. */
#include <stdlib.h>

#include "report/chart.h"

#define X(name, id, title) {id, title},
static const struct {
    const char *id, *title;
} sections[] = {REPORT_SECTION_MAP(X)};
#undef X

const char *report_section_id(enum report_section section)
{
    ASSERT(section < REPORT_SECTIONS_COUNT);
    return sections[section].id;
}

const char *report_section_title(enum report_section section)
{
    ASSERT(section < REPORT_SECTIONS_COUNT);
    return sections[section].title;
}

/* Room for one more of `item_bytes`; NULL: memory ended, and the list is as it was. */
static void *grow(void *items, size_t count, size_t *capacity, size_t item_bytes)
{
    if (count < *capacity)
        return items;
    size_t wanted = *capacity * 2 + 64;
    void *grown = reallocarray(items, wanted, item_bytes);
    if (grown != NULL)
        *capacity = wanted;
    return grown;
}

enum status charts_begin(struct charts *charts, const struct chart *chart, struct err *err)
{
    struct chart *items = grow(charts->charts, charts->charts_count, &charts->charts_capacity,
                               sizeof(*charts->charts));
    if (items == NULL)
        return ERR(err, STATUS_NOMEM, "no memory for charts");
    charts->charts = items;
    items[charts->charts_count] = *chart;
    items[charts->charts_count].series = charts->series_count;
    items[charts->charts_count++].series_count = 0;
    return STATUS_OK;
}

enum status charts_begin_series(struct charts *charts, const char *name, struct err *err)
{
    struct chart_series *items = grow(charts->series, charts->series_count,
                                      &charts->series_capacity, sizeof(*charts->series));
    if (items == NULL)
        return ERR(err, STATUS_NOMEM, "no memory for charts");
    charts->series = items;
    items[charts->series_count++] = (struct chart_series){name, charts->points_count, 0};
    charts->charts[charts->charts_count - 1].series_count++;
    return STATUS_OK;
}

enum status charts_put(struct charts *charts, const struct chart_point *point, struct err *err)
{
    struct chart_point *items = grow(charts->points, charts->points_count, &charts->points_capacity,
                                     sizeof(*charts->points));
    if (items == NULL)
        return ERR(err, STATUS_NOMEM, "no memory for charts");
    charts->points = items;
    items[charts->points_count++] = *point;
    charts->series[charts->series_count - 1].points_count++;
    return STATUS_OK;
}

void charts_release(struct charts *charts)
{
    free(charts->charts);
    free(charts->series);
    free(charts->points);
    *charts = (struct charts){0};
}
