/* Bencher Metric Format: `bencher run --adapter json --file FILE`. */
#include <math.h>
#include <string.h>

#include "base/json_write.h"
#include "export/identity.h"
#include "export/series.h"

#define NAME_BYTES_MAX ((size_t)8 * RECORD_LINE_BYTES_MAX)
#define NAME_LETTERS   1024 /* Bencher's most */
#define TAIL_LETTERS   128 /* of a longer one: the shape and the cell's hash, which tell it apart */
#define MEASURE_BYTES  64  /* Bencher's most */

static enum status begin(struct export *export, struct err *err)
{
    struct series *series = NULL;
    TRY(series_new(SERIES_NUMBERS_PER_VALUE * export->fields_count, &series, err));
    export->state = series;
    return STATUS_OK;
}

static bool begins_letter(char c)
{
    return ((unsigned char)c & 0xC0U) != 0x80U;
}

/* Within Bencher's length: the middle of one that is longer is left out. */
static void shorten(struct buf *name)
{
    size_t letters = 0;
    for (size_t i = 0; i < name->length_bytes; i++)
        letters += begins_letter(name->data[i]) ? 1 : 0;
    if (letters <= NAME_LETTERS)
        return;
    size_t keep = NAME_LETTERS - TAIL_LETTERS;
    size_t cut = 0;
    for (size_t seen = 0; cut < name->length_bytes; cut++) {
        if (begins_letter(name->data[cut]) && seen++ == keep)
            break;
    }
    size_t tail = name->length_bytes;
    for (size_t seen = 0; tail > 0 && seen < TAIL_LETTERS; tail--)
        seen += begins_letter(name->data[tail - 1]) ? 1 : 0;
    memmove(name->data + cut, name->data + tail, name->length_bytes - tail + 1);
    name->length_bytes -= tail - cut;
}

static enum status add(struct export *export, const struct export_item *item, struct err *err)
{
    struct buf name CLEANUP(buf_release) = {0};
    buf_init(&name, NAME_BYTES_MAX);
    identity_append_name(item->record, &name);
    shorten(&name);
    return series_put_values(export->state, export, item, &name, err);
}

/* "tokens-per-sec": a slug. */
static void put_measure(enum fact_id field, struct json_writer *writer)
{
    char slug[MEASURE_BYTES];
    size_t bytes = 0;
    for (const char *c = fact_of(field)->name; *c != '\0' && bytes + 1 < sizeof(slug); c++)
        slug[bytes++] = *c == '_' ? '-' : *c;
    slug[bytes] = '\0';
    json_put_key(writer, slug);
}

static void append_benchmark(const struct export *export, const double *numbers, struct buf *out)
{
    struct json_writer writer;
    json_writer_init(&writer, out);
    json_begin_object(&writer);
    for (size_t i = 0; i < export->fields_count; i++) {
        struct series_value value = series_value(numbers, i);
        if (!isfinite(value.value))
            continue;
        put_measure(export->fields[i], &writer);
        json_begin_object(&writer);
        json_field_double(&writer, "value", value.value);
        if (isfinite(value.low))
            json_field_double(&writer, "lower_value", value.low);
        if (isfinite(value.high))
            json_field_double(&writer, "upper_value", value.high);
        json_end_object(&writer);
    }
    json_end_object(&writer);
}

static bool has_values(const struct export *export, const double *numbers)
{
    for (size_t i = 0; i < export->fields_count; i++)
        if (isfinite(series_value(numbers, i).value))
            return true;
    return false;
}

static enum status end(struct export *export, struct err *err)
{
    const struct series *series = export->state;
    const char *name;
    const double *numbers;
    size_t count = 0;
    buf_append_char(&export->text, '{');
    for (size_t row = 0; row < series_count(series); row++) {
        struct json_writer writer;
        if (!series_row(series, row, &name, &numbers) || !has_values(export, numbers))
            continue;
        buf_append_text(&export->text, count++ == 0 ? "\n" : ",\n");
        json_writer_init(&writer, &export->text);
        json_put_string(&writer, name);
        buf_append_char(&export->text, ':');
        append_benchmark(export, numbers, &export->text);
        TRY(export_flush(export, false, err));
    }
    buf_append_text(&export->text, "\n}\n");
    return STATUS_OK;
}

static void release(struct export *export)
{
    series_free(export->state);
}

const struct exporter exporter_bmf = {
    .name = "bmf",
    .says = "Bencher Metric Format: `bencher run --adapter json --file FILE`",
    .leaves_out =
        "runs but the newest of a cell, units (a measure has them in Bencher), the middle "
        "of names over 1024 letters",
    .fields = "tokens_per_sec ms_p50 peak_mem_mb",
    .places = EXPORT_TO_STREAM,
    .sees_failed = true,
    .begin = begin,
    .add = add,
    .end = end,
    .release = release,
};
