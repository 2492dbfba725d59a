/* github-action-benchmark: its `customBiggerIsBetter` and `customSmallerIsBetter`. A file of it has
 * one direction. */
#include <math.h>
#include <string.h>

#include "base/json_write.h"
#include "export/identity.h"
#include "export/series.h"

#define TEXT_BYTES_MAX    ((size_t)8 * RECORD_LINE_BYTES_MAX)
#define CONTENT_BYTES_MAX ((size_t)1 << 30)
#define FILE_NAME_BYTES   64

static const enum fact_id extra_fields[] = {FACT_ENGINE_VERSION, FACT_ENVIRONMENT_ID};

static const struct direction {
    enum fact_better better;
    const char *tool;
} directions[] = {{FACT_BETTER_HIGHER, "customBiggerIsBetter"},
                  {FACT_BETTER_LOWER, "customSmallerIsBetter"}};

static bool is_of(const struct export *export, size_t field, enum fact_better better)
{
    return fact_of(export->fields[field])->better == better;
}

static size_t count_of(const struct export *export, enum fact_better better)
{
    size_t count = 0;
    for (size_t i = 0; i < export->fields_count; i++)
        count += is_of(export, i, better) ? 1 : 0;
    return count;
}

static enum status begin(struct export *export, struct err *err)
{
    struct series *series = NULL;
    size_t higher = count_of(export, FACT_BETTER_HIGHER);
    size_t lower = count_of(export, FACT_BETTER_LOWER);
    for (size_t i = 0; i < export->fields_count; i++)
        if (!is_of(export, i, FACT_BETTER_HIGHER) && !is_of(export, i, FACT_BETTER_LOWER))
            return ERR(err, STATUS_INVALID, "of '%s' neither more nor less is better",
                       fact_of(export->fields[i])->name);
    if (export->place == EXPORT_TO_STREAM && higher > 0 && lower > 0)
        return ERR(err, STATUS_INVALID,
                   "github-action-benchmark reads bigger-is-better and smaller-is-better from two "
                   "files: --to DIR/ writes both, or name --fields of one direction");
    TRY(series_new(SERIES_NUMBERS_PER_VALUE * export->fields_count, &series, err));
    export->state = series;
    return STATUS_OK;
}

/* The name, and behind a line break what stands in `extra`. */
static enum status add(struct export *export, const struct export_item *item, struct err *err)
{
    struct buf text CLEANUP(buf_release) = {0};
    buf_init(&text, TEXT_BYTES_MAX);
    identity_append_name(item->record, &text);
    buf_append_char(&text, '\n');
    for (size_t i = 0; i < ARRAY_COUNT(extra_fields); i++) {
        if (record_is_null(item->record, extra_fields[i]))
            continue;
        buf_appendf(&text, "%s: ", fact_of(extra_fields[i])->name);
        identity_append_value(item->record, extra_fields[i], &text);
        buf_append_char(&text, '\n');
    }
    return series_put_values(export->state, export, item, &text, err);
}

static void append_entry(enum fact_id field, const char *text, struct series_value value,
                         struct buf *name, struct buf *out)
{
    struct json_writer writer;
    size_t name_bytes = strcspn(text, "\n");
    buf_reset(name);
    buf_append(name, text, name_bytes);
    buf_appendf(name, "/%s", fact_of(field)->name);
    json_writer_init(&writer, out);
    json_begin_object(&writer);
    json_field_string(&writer, "name", name->data);
    json_field_string(&writer, "unit", fact_of(field)->unit);
    json_field_double(&writer, "value", value.value);
    buf_reset(name);
    if (isfinite(value.low) && isfinite(value.high)) {
        double side = fmax(value.high - value.value, value.value - value.low);
        buf_appendf(name, "\u00B1 %.6g", side);
        json_field_string(&writer, "range", name->data);
        buf_reset(name);
        buf_appendf(name, "95 %% interval: %.9g to %.9g\n", value.low, value.high);
    }
    buf_append_text(name, text + name_bytes + 1);
    if (name->length_bytes > 0) {
        name->data[name->length_bytes - 1] = '\0'; /* its last line break */
        json_field_string(&writer, "extra", name->data);
    }
    json_end_object(&writer);
}

static enum status write_entries(struct export *export, enum fact_better better, struct buf *out,
                                 struct err *err)
{
    const struct series *series = export->state;
    struct buf name CLEANUP(buf_release) = {0};
    const char *text;
    const double *numbers;
    size_t count = 0;
    buf_init(&name, TEXT_BYTES_MAX);
    buf_append_char(out, '[');
    for (size_t row = 0; row < series_count(series); row++) {
        if (!series_row(series, row, &text, &numbers))
            continue;
        for (size_t i = 0; i < export->fields_count; i++) {
            struct series_value value = series_value(numbers, i);
            if (!is_of(export, i, better) || !isfinite(value.value))
                continue;
            buf_append_text(out, count++ == 0 ? "\n" : ",\n");
            append_entry(export->fields[i], text, value, &name, out);
        }
        if (out == &export->text)
            TRY(export_flush(export, false, err));
    }
    buf_append_text(out, count == 0 ? "]\n" : "\n]\n");
    return name.failed ? ERR(err, STATUS_NOMEM, "no memory for names") : STATUS_OK;
}

static enum status end(struct export *export, struct err *err)
{
    if (export->place == EXPORT_TO_STREAM)
        return write_entries(export,
                             count_of(export, FACT_BETTER_HIGHER) > 0 ? FACT_BETTER_HIGHER
                                                                      : FACT_BETTER_LOWER,
                             &export->text, err);
    for (size_t i = 0; i < ARRAY_COUNT(directions); i++) {
        struct buf content CLEANUP(buf_release) = {0};
        struct buf name CLEANUP(buf_release) = {0};
        if (count_of(export, directions[i].better) == 0)
            continue;
        buf_init(&content, CONTENT_BYTES_MAX);
        buf_init(&name, FILE_NAME_BYTES);
        buf_appendf(&name, "%s.json", directions[i].tool);
        TRY(write_entries(export, directions[i].better, &content, err));
        TRY(export_replace_file(export, name.data, &content, err));
    }
    return STATUS_OK;
}

static void release(struct export *export)
{
    series_free(export->state);
}

const struct exporter exporter_github_action_benchmark = {
    .name = "github-action-benchmark",
    .says = "customBiggerIsBetter.json and customSmallerIsBetter.json of github-action-benchmark",
    .leaves_out = "runs but the newest of a cell; the action compares single values and knows no "
                  "interval: set its alert-threshold (200 % unless set)",
    .fields = "tokens_per_sec ms_p50 peak_mem_mb",
    .places = EXPORT_TO_STREAM | EXPORT_TO_FOLDER,
    .sees_failed = true,
    .needs = extra_fields,
    .needs_count = ARRAY_COUNT(extra_fields),
    .begin = begin,
    .add = add,
    .end = end,
    .release = release,
};
