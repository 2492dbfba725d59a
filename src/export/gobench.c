/* Go's benchmark text: for benchstat, which takes each line as a sample. */
#include <ctype.h>
#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "base/num.h"
#include "base/utf8.h"
#include "export/exporter.h"
#include "export/identity.h"
#include "result/samples.h"

#define NAME_BYTES_MAX ((size_t)8 * RECORD_LINE_BYTES_MAX)

static const struct {
    const char *key;
    enum fact_id field;
} parts[] = {
    {"engine", FACT_FRAMEWORK},    {"model", FACT_MODEL}, {"device", FACT_DEVICE},
    {"precision", FACT_PRECISION}, {"seq", FACT_SEQ_LEN}, {"batch", FACT_BATCH_SIZE},
    {"cell", FACT_CELL_ID},
};

static enum status begin(struct export *export, struct err *err)
{
    (void)err;
    buf_append_text(&export->text, "Unit tokens/s better=higher\nUnit ns/op better=lower\n");
    return STATUS_OK;
}

/* White space of Unicode beside ASCII's, which ends a name, too. */
static bool is_wide_space(const char *text)
{
    static const char *const spaces[] = {
        "\u00A0", "\u1680", "\u2000", "\u2001", "\u2002", "\u2003", "\u2004", "\u2005", "\u2006",
        "\u2007", "\u2008", "\u2009", "\u200A", "\u2028", "\u2029", "\u202F", "\u205F", "\u3000"};
    for (size_t i = 0; i < ARRAY_COUNT(spaces); i++)
        if (strncmp(text, spaces[i], strlen(spaces[i])) == 0)
            return true;
    return strncmp(text, "\xC2\x85", 2) == 0;
}

/* A name ends at white space, and '/' and '=' part its keys. */
static void append_part(const struct record *record, enum fact_id field, struct buf *out)
{
    size_t start = out->length_bytes;
    identity_append_value(record, field, out);
    for (size_t i = start; i < out->length_bytes; i++) {
        char *at = out->data + i;
        size_t bytes = is_wide_space(at) ? utf8_sequence_bytes((const unsigned char *)at) : 0;
        bool is_apart = strchr(" /=", *at) != NULL || (unsigned char)*at < ' ' || *at == 0x7F;
        if (bytes > 0 || is_apart)
            memset(at, '_', bytes > 0 ? bytes : 1);
    }
}

/* "BenchmarkTrain/engine=native/...". */
static void append_name(const struct record *record, struct buf *out)
{
    buf_append_text(out, "Benchmark");
    size_t mode = out->length_bytes;
    append_part(record, FACT_MODE, out);
    if (mode < out->length_bytes)
        out->data[mode] = (char)toupper((unsigned char)out->data[mode]);
    for (size_t i = 0; i < ARRAY_COUNT(parts); i++) {
        if (record_is_null(record, parts[i].field))
            continue;
        buf_appendf(out, "/%s=", parts[i].key);
        append_part(record, parts[i].field, out);
    }
}

static void append_sample(const struct buf *name, uint64_t steps, double step_ns,
                          double tokens_per_sec, struct buf *out)
{
    char number[NUM_TEXT_BYTES];
    buf_append(out, name->data, name->length_bytes);
    num_format_double(step_ns, number);
    buf_appendf(out, " %" PRIu64 " %s ns/op", steps, number);
    if (tokens_per_sec > 0) {
        num_format_double(tokens_per_sec, number);
        buf_appendf(out, " %s tokens/s", number);
    }
    buf_append_char(out, '\n');
}

static enum status add(struct export *export, const struct export_item *item, struct err *err)
{
    struct buf name CLEANUP(buf_release) = {0};
    struct samples samples CLEANUP(samples_release) = {0};
    bool is_found = false;
    double step_ms;
    double rate = 0;
    buf_init(&name, NAME_BYTES_MAX);
    append_name(item->record, &name);
    /* The samples of standard input lie nowhere. */
    if (strcmp(item->source, "-") != 0)
        TRY(samples_read(item->source, item->record, &samples, &is_found, err));
    double tokens = (double)record_u64(item->record, FACT_TOKENS_PER_STEP);
    for (size_t i = 0; is_found && i < samples.count; i++) {
        double step_ns = samples.values[i];
        append_sample(&name, 1, step_ns, step_ns > 0 ? tokens * (double)NS_PER_S / step_ns : 0,
                      &export->text);
        TRY(export_flush(export, false, err));
    }
    if (is_found || !export_number(item->record, FACT_MS_PER_STEP, &step_ms))
        return export_flush(export, false, err);
    (void)export_number(item->record, FACT_TOKENS_PER_SEC, &rate);
    uint64_t steps = record_u64(item->record, FACT_STEPS);
    append_sample(&name, steps > 0 ? steps : 1, step_ms * (double)NS_PER_MS, rate, &export->text);
    return export_flush(export, false, err);
}

static enum status end(struct export *export, struct err *err)
{
    return export_flush(export, false, err);
}

static const enum fact_id needs[] = {
    FACT_MS_P50, FACT_SAMPLES,         FACT_MS_PER_STEP, FACT_TOKENS_PER_SEC,
    FACT_STEPS,  FACT_TOKENS_PER_STEP, FACT_SYNC};

const struct exporter exporter_gobench = {
    .name = "gobench",
    .says = "Go's benchmark text, a line a raw sample: `benchstat old.txt new.txt`",
    .leaves_out = "everything but step times and tokens/s; where the raw samples are not beside "
                  "the results, a line a record with its mean. benchstat takes samples as "
                  "independent, which steps are not: its p values are too small",
    .fields = "",
    .places = EXPORT_TO_STREAM,
    .needs = needs,
    .needs_count = ARRAY_COUNT(needs),
    .begin = begin,
    .add = add,
    .end = end,
};
