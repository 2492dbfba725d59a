#include "report/curves.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "report/chart.h"
#include "result/line_source.h"
#include "result/names.h"

#define LINE_BYTES_MAX (1U << 20)

static const char *text_of(const json_t *line, const char *key)
{
    const char *text = json_string_value(json_object_get(line, key));
    return text != NULL ? text : "";
}

static void forget_from(struct report *report, size_t first)
{
    while (report->curves_count > first)
        free(report->curves[--report->curves_count].losses);
}

static enum status keep(struct report *report, uint32_t source, const json_t *line, struct err *err)
{
    const json_t *losses = json_object_get(line, "losses");
    size_t count = json_array_size(losses);
    if (count == 0)
        return STATUS_OK;
    struct report_curve *curves =
        reallocarray(report->curves, report->curves_count + 1, sizeof(*curves));
    double *values = calloc(count, sizeof(*values));
    report->curves = curves != NULL ? curves : report->curves;
    if (curves == NULL || values == NULL) {
        free(values);
        return ERR(err, STATUS_NOMEM, "no memory for the course of a loss");
    }
    for (size_t i = 0; i < count; i++) {
        const json_t *item = json_array_get(losses, i);
        values[i] = json_is_number(item) ? json_number_value(item) : (double)NAN;
    }
    curves[report->curves_count++] =
        (struct report_curve){texts_keepf(&report->texts, "%.100s %.100s", text_of(line, "engine"),
                                          text_of(line, "precision")),
                              source, values, count};
    return STATUS_OK;
}

/* The lines of one call lie beside each other; a later call's take the place of them. */
static enum status take_line(struct report *report, uint32_t source, size_t first,
                             const json_t *line, struct hash_wide *call, struct err *err)
{
    const char *run = text_of(line, "run_id");
    struct hash_wide key = hash_wide(run, strlen(run));
    if (key.low != call->low || key.high != call->high)
        forget_from(report, first);
    *call = key;
    if (report->curves_count - first >= CHART_SERIES_MAX)
        return STATUS_OK;
    return keep(report, source, line, err);
}

enum status report_curves_take(struct report *report, uint32_t source, struct err *err)
{
    const char *path = report->sources[source].path;
    const struct input_kind kind = {.beside = RESULT_STABILITY_NAME};
    struct input *input = NULL;
    struct line_source *lines = NULL;
    struct err why = {0};
    struct line line = {0};
    struct hash_wide call = {0};
    size_t first = report->curves_count;
    if (strcmp(path, "-") == 0 || input_open(path, kind, &input, &why) != STATUS_OK ||
        line_source_new(input, false, LINE_BYTES_MAX, &lines, &why) != STATUS_OK)
        return why.status == STATUS_NOMEM ? ERR(err, STATUS_NOMEM, "%s", why.text) : STATUS_OK;
    enum status status = STATUS_OK;
    while (status == STATUS_OK && line_source_next(lines, &line, &why) == STATUS_OK &&
           line.kind != LINE_END) {
        json_t *json = line.kind == LINE_WHOLE ? json_loadb(line.text, line.bytes, 0, NULL) : NULL;
        if (json_is_object(json))
            status = take_line(report, source, first, json, &call, err);
        json_decref(json);
    }
    line_source_free(lines);
    return status;
}
