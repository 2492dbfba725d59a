#include "export/exposition.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "base/num.h"
#include "export/identity.h"
#include "export/series.h"
#include "export/unit.h"

#define LABELS_BYTES_MAX ((size_t)8 * RECORD_LINE_BYTES_MAX)
#define NAME_BYTES       128
#define INFO_NAME        "tokmark_cell"
#define TIME_NAME        "tokmark_measured_timestamp_seconds"

/* What tells no results apart, but where they are from. */
static const enum fact_id info_labels[] = {FACT_VERDICT, FACT_ENGINE_VERSION, FACT_ENVIRONMENT_ID,
                                           FACT_HARNESS};

const enum fact_id exposition_needs[EXPOSITION_NEEDS_COUNT] = {FACT_ENGINE_VERSION,
                                                               FACT_ENVIRONMENT_ID, FACT_HARNESS};

enum status exposition_begin(struct export *export, struct err *err)
{
    struct series *series = NULL;
    /* One more: when it was measured. */
    TRY(series_new(export->fields_count + 1, &series, err));
    export->state = series;
    return STATUS_OK;
}

void exposition_release(struct export *export)
{
    series_free(export->state);
    export->state = NULL;
}

/* --- a row: its labels, and behind a line break those of its info line --- */

static void append_label(const struct record *record, enum fact_id field, struct buf *value,
                         struct buf *out)
{
    buf_reset(value);
    identity_append_value(record, field, value);
    buf_appendf(out, "%s=\"", fact_of(field)->name);
    for (const char *at = value->data; *at != '\0';) {
        size_t bytes = strcspn(at, "\\\"\n");
        buf_append(out, at, bytes);
        at += bytes;
        if (*at == '\0')
            break;
        buf_append_char(out, '\\');
        buf_append_char(out, *at == '\n' ? 'n' : *at);
        at++;
    }
    buf_append_char(out, '"');
}

static void append_labels(const struct record *record, const enum fact_id *fields, size_t count,
                          struct buf *value, struct buf *out)
{
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            buf_append_char(out, ',');
        append_label(record, fields[i], value, out);
    }
}

enum status exposition_add(struct export *export, const struct export_item *item, struct err *err)
{
    struct buf labels CLEANUP(buf_release) = {0};
    struct buf value CLEANUP(buf_release) = {0};
    double numbers[FACTS_COUNT + 1];
    buf_init(&labels, LABELS_BYTES_MAX);
    buf_init(&value, LABELS_BYTES_MAX);
    append_labels(item->record, export_identity, export_identity_count, &value, &labels);
    buf_append_char(&labels, '\n');
    append_labels(item->record, info_labels, ARRAY_COUNT(info_labels), &value, &labels);
    for (size_t i = 0; i < export->fields_count; i++) {
        numbers[i] = NAN;
        if (item->has_result && export_number(item->record, export->fields[i], &numbers[i]))
            numbers[i] = unit_to_base(export->fields[i], numbers[i]);
    }
    double measured_s;
    numbers[export->fields_count] =
        export_measured_at(item->record, &measured_s) ? measured_s : NAN;
    return series_put(export->state, item, &labels, numbers, err);
}

/* --- families --- */

static void append_head(const char *name, const char *type, const char *unit, const char *help,
                        const char *field, struct buf *out)
{
    buf_appendf(out, "# HELP %s ", name);
    for (const char *c = help; *c != '\0'; c++)
        if (*c != '`')
            buf_append_char(out, *c);
    if (field[0] != '\0')
        buf_appendf(out, " (%s)", field);
    buf_appendf(out, "\n# TYPE %s %s\n", name, type);
    if (unit[0] != '\0')
        buf_appendf(out, "# UNIT %s %s\n", name, unit);
}

static void append_line(const char *name, const char *text, double value, double stamp_s,
                        struct buf *out)
{
    char number[NUM_TEXT_BYTES];
    num_format_double(value, number);
    buf_appendf(out, "%s{", name);
    buf_append(out, text, strcspn(text, "\n"));
    buf_appendf(out, "} %s", number);
    if (!isnan(stamp_s))
        buf_appendf(out, " %.3f", stamp_s);
    buf_append_char(out, '\n');
}

static enum status flush(struct export *export, struct err *err)
{
    return export->place == EXPORT_TO_STREAM ? export_flush(export, false, err)
           : export->text.failed ? ERR(err, STATUS_LIMIT, "more than a server is sent at once")
                                 : STATUS_OK;
}

static enum status write_family(struct export *export, size_t column, const char *name,
                                bool has_stamps, struct err *err)
{
    const struct series *series = export->state;
    const char *text;
    const double *numbers;
    for (size_t row = 0; row < series_count(series); row++) {
        if (!series_row(series, row, &text, &numbers) || !isfinite(numbers[column]))
            continue;
        append_line(name, text, numbers[column], has_stamps ? numbers[export->fields_count] : NAN,
                    &export->text);
        TRY(flush(export, err));
    }
    return STATUS_OK;
}

static bool has_values(const struct series *series, size_t column)
{
    const char *text;
    const double *numbers;
    for (size_t row = 0; row < series_count(series); row++)
        if (series_row(series, row, &text, &numbers) && isfinite(numbers[column]))
            return true;
    return false;
}

static enum status write_infos(struct export *export, bool is_openmetrics, struct err *err)
{
    const struct series *series = export->state;
    const char *text;
    const double *numbers;
    append_head(is_openmetrics ? INFO_NAME : INFO_NAME "_info", is_openmetrics ? "info" : "gauge",
                "", "Verdict and origin of each result: join it by cell_id and trial.", "",
                &export->text);
    for (size_t row = 0; row < series_count(series); row++) {
        if (!series_row(series, row, &text, &numbers))
            continue;
        size_t bytes = strcspn(text, "\n");
        buf_append_text(&export->text, INFO_NAME "_info{");
        buf_append(&export->text, text, bytes);
        buf_appendf(&export->text, ",%s} 1", text + bytes + 1);
        if (is_openmetrics && !isnan(numbers[export->fields_count]))
            buf_appendf(&export->text, " %.3f", numbers[export->fields_count]);
        buf_append_char(&export->text, '\n');
        TRY(flush(export, err));
    }
    return STATUS_OK;
}

enum status exposition_write(struct export *export, bool is_openmetrics, struct err *err)
{
    struct buf name CLEANUP(buf_release) = {0};
    buf_init(&name, NAME_BYTES);
    for (size_t i = 0; i < export->fields_count; i++) {
        const struct fact *fact = fact_of(export->fields[i]);
        if (!has_values(export->state, i))
            continue;
        buf_reset(&name);
        unit_append_metric_name(export->fields[i], &name);
        append_head(name.data, "gauge", is_openmetrics ? unit_of(export->fields[i])->base : "",
                    fact->meaning, fact->name, &export->text);
        TRY(write_family(export, i, name.data, is_openmetrics, err));
    }
    /* Samples of OpenMetrics have their time themselves. */
    if (!is_openmetrics && has_values(export->state, export->fields_count)) {
        append_head(TIME_NAME, "gauge", "", "When each result was measured.", "", &export->text);
        TRY(write_family(export, export->fields_count, TIME_NAME, false, err));
    }
    TRY(write_infos(export, is_openmetrics, err));
    if (is_openmetrics)
        buf_append_text(&export->text, "# EOF\n");
    return flush(export, err);
}
