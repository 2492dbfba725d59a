#include "cli/render/table.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/num.h"
#include "cli/render/table_row.h"

#define TEXT_BYTES_MAX 8192

static void release_row(struct table_row *row)
{
    free(row->what);
    free(row->tokens_data);
    free(row->machine);
    free(row->reasons);
    free(row->warnings);
    free(row->chosen);
}

void table_release(struct table *table)
{
    for (size_t i = 0; i < table->rows_count; i++)
        release_row(&table->rows[i]);
    free(table->rows);
    *table = (struct table){0};
}

/* Texts quote workers: they stay on their line. NULL without memory; empties the buffer. */
static char *take_text(struct buf *text)
{
    for (size_t i = 0; i < text->length_bytes; i++)
        if ((unsigned char)text->data[i] < 0x20 || text->data[i] == 0x7f)
            text->data[i] = ' ';
    char *copy = strdup(text->data);
    buf_release(text);
    return copy;
}

/* --- reasons --- */

static void append_short(const char *text, struct buf *out)
{
    size_t bytes = reason_short_bytes(text);
    bool is_cut = bytes == REASON_SHORT_BYTES_MAX || text[bytes] == ' ';
    buf_append(out, text, bytes);
    buf_append_text(out, is_cut ? " ..." : "");
}

/* "code: text; code: text" of a record's reasons or warnings; a code that the verdict before it
 * says already is left out. */
static char *copy_reasons(const struct record *record, enum fact_id field, bool is_verbose)
{
    struct buf text;
    buf_init(&text, TEXT_BYTES_MAX);
    const char *verdict = record_string(record, FACT_VERDICT);
    const struct reasons *reasons = record_reasons(record, field);
    for (size_t i = 0; i < reasons->count; i++) {
        const struct reason *reason = &reasons->items[i];
        bool has_text = reason->text[0] != '\0';
        bool is_said = has_text && strcmp(reason->code, verdict) == 0;
        buf_appendf(&text, "%s%s%s", i > 0 ? "; " : "", is_said ? "" : reason->code,
                    has_text && !is_said ? ": " : "");
        if (is_verbose)
            buf_append_text(&text, reason->text);
        else
            append_short(reason->text, &text);
    }
    return take_text(&text);
}

/* --- a record's row --- */

static double value_of(const struct record *record, enum fact_id field)
{
    return record_is_null(record, field) ? NAN : record_double(record, field);
}

static void copy_word(const struct record *record, enum fact_id field, char *ret, size_t ret_bytes)
{
    (void)snprintf(ret, ret_bytes, "%s", record_string(record, field));
}

static enum status grow(struct table *table, struct err *err)
{
    if (table->rows_count < table->rows_capacity)
        return STATUS_OK;
    size_t capacity = table->rows_capacity > 0 ? 2 * table->rows_capacity : 32;
    struct table_row *rows = reallocarray(table->rows, capacity, sizeof(rows[0]));
    if (rows == NULL)
        return ERR(err, STATUS_NOMEM, "no memory for the table");
    table->rows = rows;
    table->rows_capacity = capacity;
    return STATUS_OK;
}

static struct trials read_trials(const struct record *record)
{
    if (record_is_null(record, FACT_TRIALS_COUNT))
        return (struct trials){0};
    return (struct trials){
        .count = (size_t)record_u64(record, FACT_TRIALS_COUNT),
        .location = value_of(record, FACT_TRIALS_MS),
        .location_95 = {true, value_of(record, FACT_TRIALS_MS_LOW),
                        value_of(record, FACT_TRIALS_MS_HIGH)},
        .spread_percent = {true, value_of(record, FACT_TRIALS_SPREAD_PERCENT)},
    };
}

static double read_params(const struct record *record)
{
    bool is_known = !record_is_null(record, FACT_PARAMS_TOTAL);
    return is_known ? (double)record_u64(record, FACT_PARAMS_TOTAL) : NAN;
}

/* "vocab_size 50257: 6.49 M parameters". */
static char *describe_chosen(const struct record *record)
{
    const char *chosen = record_string(record, FACT_MODEL_CHOSEN);
    struct buf text;
    buf_init(&text, TEXT_BYTES_MAX);
    buf_append_text(&text, chosen);
    if (chosen[0] != '\0' && isfinite(read_params(record))) {
        char params[NUM_TEXT_BYTES];
        num_format_count(read_params(record), params);
        buf_appendf(&text, ": %s parameters", params);
    }
    return take_text(&text);
}

static char *describe_what(const struct record *record)
{
    struct buf text;
    buf_init(&text, TEXT_BYTES_MAX);
    buf_appendf(&text, "%s on %s: %s", record_string(record, FACT_FRAMEWORK),
                record_string(record, FACT_DEVICE), record_string(record, FACT_MODEL));
    return take_text(&text);
}

static char *describe_data(const struct record *record)
{
    struct buf text;
    buf_init(&text, TEXT_BYTES_MAX);
    const char *data = record_string(record, FACT_TOKENS_DATA);
    bool is_made = strncmp(data, "synthetic", strlen("synthetic")) == 0;
    if (data[0] != '\0' && strcmp(data, "none") != 0)
        buf_appendf(&text, "%s%s", data, is_made ? " tokens" : "");
    return take_text(&text);
}

/* "AMD EPYC 9654, 2 CPUs, 23.5 GiB memory", of what the record says of its machine. */
static char *describe_machine(const struct record *record)
{
    struct buf text;
    buf_init(&text, TEXT_BYTES_MAX);
    json_t *root = json_loads(record_string(record, FACT_ENVIRONMENT), 0, NULL);
    const json_t *cpu = json_object_get(root, "cpu");
    const char *model = json_string_value(json_object_get(cpu, "model"));
    json_int_t cpus = json_integer_value(json_object_get(cpu, "cpus_usable"));
    json_int_t bytes =
        json_integer_value(json_object_get(json_object_get(root, "memory"), "total_bytes"));
    if (model != NULL)
        buf_append_text(&text, model);
    if (cpus > 0)
        buf_appendf(&text, "%s%lld CPU%s", text.length_bytes > 0 ? ", " : "", (long long)cpus,
                    num_plural((uint64_t)cpus));
    if (bytes > 0) {
        char size[NUM_TEXT_BYTES];
        num_format_bytes((uint64_t)bytes, size);
        buf_appendf(&text, "%s%s memory", text.length_bytes > 0 ? ", " : "", size);
    }
    json_decref(root);
    return take_text(&text);
}

static bool copy_texts(const struct record *record, bool is_verbose, struct table_row *row)
{
    row->what = describe_what(record);
    row->tokens_data = describe_data(record);
    row->machine = describe_machine(record);
    row->reasons = copy_reasons(record, FACT_REASONS, is_verbose);
    row->warnings = copy_reasons(record, FACT_WARNINGS, is_verbose);
    row->chosen = describe_chosen(record);
    return row->what != NULL && row->tokens_data != NULL && row->machine != NULL &&
           row->reasons != NULL && row->warnings != NULL && row->chosen != NULL;
}

enum status table_add(struct table *table, size_t place, const struct record *record,
                      struct err *err)
{
    enum status status = grow(table, err);
    if (status != STATUS_OK)
        return status;
    struct table_row row = {
        .place = place,
        .tokens = (double)record_u64(record, FACT_TOKENS_PER_STEP) *
                  (double)record_u64(record, FACT_STEPS),
        .window_ms = value_of(record, FACT_MS_PER_STEP) * (double)record_u64(record, FACT_STEPS),
        .trials = read_trials(record),
        .seq_len = record_u64(record, FACT_SEQ_LEN),
        .batch_size = record_u64(record, FACT_BATCH_SIZE),
        .trial = record_u64(record, FACT_TRIAL),
        .is_synthetic = record_bool(record, FACT_SYNTHETIC),
        .ms_p50 = value_of(record, FACT_MS_P50),
        .own_low = value_of(record, FACT_MS_P50_LOW),
        .own_high = value_of(record, FACT_MS_P50_HIGH),
        .ms_low = value_of(record, FACT_NEXT_RUN_MS_LOW),
        .ms_high = value_of(record, FACT_NEXT_RUN_MS_HIGH),
        .is_first_run = strcmp(record_string(record, FACT_NEXT_RUN_BASIS), "this_run") == 0,
        .tokens_per_second = value_of(record, FACT_TOKENS_PER_SEC),
        .peak_mib = value_of(record, FACT_PEAK_MEM_MB),
        .loss = value_of(record, FACT_LOSS_LAST),
        .params = read_params(record),
    };
    copy_word(record, FACT_MODE, row.mode, sizeof(row.mode));
    copy_word(record, FACT_PRECISION, row.precision, sizeof(row.precision));
    copy_word(record, FACT_PARALLEL, row.parallel, sizeof(row.parallel));
    if (!verdict_parse(record_string(record, FACT_VERDICT), &row.verdict))
        row.verdict = VERDICT_INVALID;
    if (!copy_texts(record, table->is_verbose, &row)) {
        release_row(&row);
        return ERR(err, STATUS_NOMEM, "no memory for the table");
    }
    table->rows[table->rows_count++] = row;
    hints_add(&table->hints, record);
    return STATUS_OK;
}

void table_append_name(const struct table_row *row, struct buf *out)
{
    bool has_layout = row->parallel[0] != '\0' && strcmp(row->parallel, "none") != 0;
    buf_appendf(out, "%s %s%s%s seq %" PRIu64 " batch %" PRIu64, row->mode, row->precision,
                has_layout ? " " : "", has_layout ? row->parallel : "", row->seq_len,
                row->batch_size);
}

/* --- numbers --- */

/* More digits only if the integer part has more. */
static int decimals_for(double value)
{
    double size = fabs(value);
    if (size > 0 && size < 0.01)
        return 6;
    return size < 10 ? 3 : size < 100 ? 2 : size < 1000 ? 1 : 0;
}

static void format_grouped(double value, char text[TABLE_NUMBER_BYTES])
{
    char digits[TABLE_NUMBER_BYTES];
    int length = snprintf(digits, sizeof(digits), "%.0f", value);
    size_t at = 0;
    for (int i = 0; i < length && digits[i] != '\0' && at + 2 < TABLE_NUMBER_BYTES; i++) {
        text[at++] = digits[i];
        int left = length - 1 - i;
        if (digits[i] != '-' && left > 0 && left % 3 == 0)
            text[at++] = ',';
    }
    text[at] = '\0';
}

void table_format_number(double value, char text[TABLE_NUMBER_BYTES])
{
    if (!isfinite(value))
        (void)snprintf(text, TABLE_NUMBER_BYTES, "-");
    else if (fabs(value) >= 1000)
        format_grouped(value, text);
    else
        (void)snprintf(text, TABLE_NUMBER_BYTES, "%.*f", decimals_for(value), value);
}

void table_format_interval(double value, double low, double high, char text[TABLE_NUMBER_BYTES])
{
    double below = fmax(100 * (1 - low / value), 0);
    double above = fmax(100 * (high / value - 1), 0);
    double larger = fmax(below, above);
    int decimals = larger < 1 ? 2 : larger < 10 ? 1 : 0;
    char ends[2][TABLE_NUMBER_BYTES / 3];
    (void)snprintf(text, TABLE_NUMBER_BYTES, "-");
    if (!(value > 0) || !isfinite(value) || !isfinite(low) || !isfinite(high))
        return;
    (void)snprintf(ends[0], sizeof(ends[0]), "%.*f", decimals, below);
    (void)snprintf(ends[1], sizeof(ends[1]), "%.*f", decimals, above);
    if (strcmp(ends[0], ends[1]) == 0)
        (void)snprintf(text, TABLE_NUMBER_BYTES, "+-%s %%", ends[0]);
    else
        (void)snprintf(text, TABLE_NUMBER_BYTES, "-%s/+%s %%", ends[0], ends[1]);
}

/* --- a record in short --- */

static void append_codes(const struct record *record, enum fact_id field, const char *title,
                         struct buf *out)
{
    const char *verdict = record_string(record, FACT_VERDICT);
    const struct reasons *reasons = record_reasons(record, field);
    const char *separator = title;
    for (size_t i = 0; i < reasons->count; i++) {
        if (strcmp(reasons->items[i].code, verdict) == 0)
            continue;
        buf_appendf(out, "%s%s", separator, reasons->items[i].code);
        separator = ", ";
    }
}

void table_describe_record(const struct record *record, struct buf *out)
{
    char number[TABLE_NUMBER_BYTES];
    char interval[TABLE_NUMBER_BYTES];
    buf_append_text(out, record_string(record, FACT_VERDICT));
    if (!record_is_null(record, FACT_MS_P50)) {
        double median = record_double(record, FACT_MS_P50);
        table_format_number(median, number);
        table_format_interval(median, value_of(record, FACT_NEXT_RUN_MS_LOW),
                              value_of(record, FACT_NEXT_RUN_MS_HIGH), interval);
        bool has_interval = strcmp(interval, "-") != 0;
        buf_appendf(out, ", ms_p50 %s%s%s", number, has_interval ? " " : "",
                    has_interval ? interval : "");
        table_format_number(value_of(record, FACT_TOKENS_PER_SEC), number);
        buf_appendf(out, ", tokens_per_sec %s, samples %" PRIu64, number,
                    record_u64(record, FACT_SAMPLES));
    }
    if (record_bool(record, FACT_SYNTHETIC))
        buf_append_text(out, ", synthetic");
    append_codes(record, FACT_REASONS, ": ", out);
    append_codes(record, FACT_WARNINGS, "; warnings: ", out);
}
