#include "cli/table.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/num.h"
#include "spec/cell.h"
#include "spec/verdict.h"

#define CELL_BYTES        160
#define REASONS_BYTES_MAX 8192

struct table_row {
    char framework[CELL_WORD_BYTES];
    char model[MODEL_NAME_BYTES];
    char mode[CELL_WORD_BYTES];
    char precision[CELL_WORD_BYTES];
    uint64_t seq_len, batch_size, trial;
    enum verdict verdict;
    bool is_synthetic;
    double ms_p50, ms_low, ms_high, tokens_per_second, peak_mib, loss; /* NaN = unknown */
    char *reasons;                                                     /* owned; "" = none */
    char *tokens_data;                                                 /* owned; "" = unknown */
};

enum column {
    COLUMN_ENGINE,
    COLUMN_MODEL,
    COLUMN_MODE,
    COLUMN_PRECISION,
    COLUMN_SEQ,
    COLUMN_BATCH,
    COLUMN_TRIAL,
    COLUMN_VERDICT,
    COLUMN_MS,
    COLUMN_INTERVAL,
    COLUMN_TOKENS,
    COLUMN_PEAK,
    COLUMN_LOSS,
    COLUMNS_COUNT
};

static const struct {
    const char *heading;
    bool is_right;
    size_t width_min; /* when the table is too wide; 0 = never cut */
} columns[COLUMNS_COUNT] = {
    [COLUMN_ENGINE] = {"engine", false, 8},  [COLUMN_MODEL] = {"model", false, 8},
    [COLUMN_MODE] = {"mode", false, 0},      [COLUMN_PRECISION] = {"prec", false, 0},
    [COLUMN_SEQ] = {"seq", true, 0},         [COLUMN_BATCH] = {"batch", true, 0},
    [COLUMN_TRIAL] = {"trial", true, 0},     [COLUMN_VERDICT] = {"verdict", false, 0},
    [COLUMN_MS] = {"median ms", true, 0},    [COLUMN_INTERVAL] = {"95% interval", true, 0},
    [COLUMN_TOKENS] = {"tokens/s", true, 0}, [COLUMN_PEAK] = {"peak MiB", true, 0},
    [COLUMN_LOSS] = {"loss", true, 0},
};

void table_release(struct table *table)
{
    for (size_t i = 0; i < table->rows_count; i++) {
        free(table->rows[i].reasons);
        free(table->rows[i].tokens_data);
    }
    free(table->rows);
    *table = (struct table){0};
}

/* "code: text; code: text" of a record's reasons. */
static void append_reasons(const struct record *record, struct buf *out)
{
    if (record_is_null(record, RECORD_REASONS))
        return;
    json_t *reasons = json_loads(record_string(record, RECORD_REASONS), 0, NULL);
    for (size_t i = 0; i < json_array_size(reasons); i++) {
        const json_t *reason = json_array_get(reasons, i);
        const char *code = json_string_value(json_object_get(reason, "code"));
        const char *text = json_string_value(json_object_get(reason, "text"));
        buf_appendf(out, "%s%s", i > 0 ? "; " : "", code != NULL ? code : "?");
        if (text != NULL && text[0] != '\0')
            buf_appendf(out, ": %s", text);
    }
    json_decref(reasons);
    /* Reasons quote workers: keep them on their line. */
    for (size_t i = 0; i < out->length_bytes; i++)
        if ((unsigned char)out->data[i] < 0x20 || out->data[i] == 0x7f)
            out->data[i] = ' ';
}

static double figure(const struct record *record, enum record_field field)
{
    return record_is_null(record, field) ? NAN : record_double(record, field);
}

static void copy_word(const struct record *record, enum record_field field, char *ret,
                      size_t ret_bytes)
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

enum status table_add(struct table *table, const struct record *record, struct err *err)
{
    enum status status = grow(table, err);
    if (status != STATUS_OK)
        return status;
    struct table_row row = {
        .seq_len = record_u64(record, RECORD_SEQ_LEN),
        .batch_size = record_u64(record, RECORD_BATCH_SIZE),
        .trial = record_u64(record, RECORD_TRIAL),
        .is_synthetic = record_bool(record, RECORD_SYNTHETIC),
        .ms_p50 = figure(record, RECORD_MS_P50),
        .ms_low = figure(record, RECORD_MS_P50_LOW),
        .ms_high = figure(record, RECORD_MS_P50_HIGH),
        .tokens_per_second = figure(record, RECORD_TOKENS_PER_SEC),
        .peak_mib = figure(record, RECORD_PEAK_MEM_MB),
        .loss = figure(record, RECORD_LOSS_LAST),
    };
    copy_word(record, RECORD_FRAMEWORK, row.framework, sizeof(row.framework));
    copy_word(record, RECORD_MODEL, row.model, sizeof(row.model));
    copy_word(record, RECORD_MODE, row.mode, sizeof(row.mode));
    copy_word(record, RECORD_PRECISION, row.precision, sizeof(row.precision));
    if (!verdict_parse(record_string(record, RECORD_VERDICT), &row.verdict))
        row.verdict = VERDICT_INVALID;
    struct buf text;
    buf_init(&text, REASONS_BYTES_MAX);
    append_reasons(record, &text);
    row.reasons = strdup(text.data);
    buf_release(&text);
    row.tokens_data = strdup(record_string(record, RECORD_TOKENS_DATA));
    if (row.reasons == NULL || row.tokens_data == NULL) {
        free(row.reasons);
        free(row.tokens_data);
        return ERR(err, STATUS_NOMEM, "no memory for the table");
    }
    table->rows[table->rows_count++] = row;
    cures_add(&table->cures, record);
    return STATUS_OK;
}

/* Four figures that count, more only where the whole part has them. */
static int decimals_for(double value)
{
    double size = fabs(value);
    if (size > 0 && size < 0.01)
        return 6;
    return size < 10 ? 3 : size < 100 ? 2 : size < 1000 ? 1 : 0;
}

/* "1,234,567" from 1234567. */
static void format_grouped(double value, char text[CELL_BYTES])
{
    char digits[64];
    int length = snprintf(digits, sizeof(digits), "%.0f", value);
    size_t at = 0;
    for (int i = 0; i < length && at + 2 < CELL_BYTES; i++) {
        text[at++] = digits[i];
        int left = length - 1 - i;
        if (digits[i] != '-' && left > 0 && left % 3 == 0)
            text[at++] = ',';
    }
    text[at] = '\0';
}

static void format_number(double value, char text[CELL_BYTES])
{
    if (!isfinite(value))
        (void)snprintf(text, CELL_BYTES, "-");
    else if (fabs(value) >= 1000)
        format_grouped(value, text);
    else
        (void)snprintf(text, CELL_BYTES, "%.*f", decimals_for(value), value);
}

static void format_interval(const struct table_row *row, char text[CELL_BYTES])
{
    if (!isfinite(row->ms_low) || !isfinite(row->ms_high)) {
        (void)snprintf(text, CELL_BYTES, "-");
        return;
    }
    int decimals = decimals_for(row->ms_high);
    (void)snprintf(text, CELL_BYTES, "%.*f-%.*f", decimals, row->ms_low, decimals, row->ms_high);
}

static void format_cell(const struct table_row *row, enum column column, char text[CELL_BYTES])
{
    text[0] = '\0';
    switch (column) {
    case COLUMN_ENGINE: (void)snprintf(text, CELL_BYTES, "%s", row->framework); break;
    case COLUMN_MODEL: (void)snprintf(text, CELL_BYTES, "%s", row->model); break;
    case COLUMN_MODE: (void)snprintf(text, CELL_BYTES, "%s", row->mode); break;
    case COLUMN_PRECISION: (void)snprintf(text, CELL_BYTES, "%s", row->precision); break;
    case COLUMN_SEQ: (void)snprintf(text, CELL_BYTES, "%" PRIu64, row->seq_len); break;
    case COLUMN_BATCH: (void)snprintf(text, CELL_BYTES, "%" PRIu64, row->batch_size); break;
    case COLUMN_TRIAL: (void)snprintf(text, CELL_BYTES, "%" PRIu64, row->trial); break;
    case COLUMN_VERDICT: (void)snprintf(text, CELL_BYTES, "%s", verdict_name(row->verdict)); break;
    case COLUMN_MS: format_number(row->ms_p50, text); break;
    case COLUMN_INTERVAL: format_interval(row, text); break;
    case COLUMN_TOKENS: format_number(row->tokens_per_second, text); break;
    case COLUMN_PEAK: format_number(row->peak_mib, text); break;
    case COLUMN_LOSS: format_number(row->loss, text); break;
    case COLUMNS_COUNT: break;
    }
    for (char *c = text; *c != '\0'; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = '?';
}

static bool is_shown(const struct table *table, enum column column)
{
    if (column != COLUMN_TRIAL)
        return true;
    for (size_t i = 0; i < table->rows_count; i++)
        if (table->rows[i].trial > 0)
            return true;
    return false;
}

/* Width of every column, 0 = not shown. Model and engine give way when the line is too long. */
static void measure_columns(const struct table *table, size_t widths[COLUMNS_COUNT])
{
    size_t total = 0;
    for (int column = 0; column < COLUMNS_COUNT; column++) {
        widths[column] = 0;
        if (!is_shown(table, (enum column)column))
            continue;
        widths[column] = strlen(columns[column].heading);
        for (size_t i = 0; i < table->rows_count; i++) {
            char text[CELL_BYTES];
            format_cell(&table->rows[i], (enum column)column, text);
            if (strlen(text) > widths[column])
                widths[column] = strlen(text);
        }
        total += widths[column] + (column > 0 ? 2 : 0);
    }
    static const enum column yielding[] = {COLUMN_MODEL, COLUMN_ENGINE};
    for (size_t i = 0; i < ARRAY_COUNT(yielding); i++) {
        size_t *width = &widths[yielding[i]];
        while (total > TABLE_COLUMNS_WIDE && *width > columns[yielding[i]].width_min) {
            (*width)--;
            total--;
        }
    }
}

static const char *verdict_color(enum verdict verdict)
{
    switch (verdict) {
    case VERDICT_OK: return "\x1b[32m";
    case VERDICT_UNSTEADY: return "\x1b[33m";
    case VERDICT_INVALID:
    case VERDICT_UNSUPPORTED:
    case VERDICT_OOM:
    case VERDICT_TIMEOUT:
    case VERDICT_CRASHED:
    case VERDICT_PROTOCOL_ERROR:
    case VERDICT_INTERRUPTED:
    case VERDICT_COUNT: break;
    }
    return "\x1b[31m";
}

/* One padded entry; a text that was cut says so with a '~'. */
static void append_entry(enum column column, const char *text, size_t width, const char *color,
                         struct buf *out)
{
    size_t length = strlen(text);
    size_t pad = length < width ? width - length : 0;
    if (column > 0)
        buf_append_text(out, "  ");
    if (columns[column].is_right)
        buf_appendf(out, "%*s", (int)pad, "");
    if (color != NULL)
        buf_append_text(out, color);
    if (length > width)
        buf_appendf(out, "%.*s~", (int)width - 1, text);
    else
        buf_append_text(out, text);
    if (color != NULL)
        buf_append_text(out, "\x1b[0m");
    if (!columns[column].is_right && column != COLUMN_LOSS)
        buf_appendf(out, "%*s", (int)pad, "");
}

static void append_line(const struct table_row *row, const size_t widths[COLUMNS_COUNT],
                        bool is_colored, struct buf *out)
{
    for (int column = 0; column < COLUMNS_COUNT; column++) {
        char text[CELL_BYTES];
        const char *color = NULL;
        if (widths[column] == 0)
            continue;
        if (row == NULL) {
            (void)snprintf(text, sizeof(text), "%s", columns[column].heading);
            color = is_colored ? "\x1b[1m" : NULL;
        } else {
            format_cell(row, (enum column)column, text);
            if (is_colored && column == COLUMN_VERDICT)
                color = verdict_color(row->verdict);
        }
        append_entry((enum column)column, text, widths[column], color, out);
    }
    buf_append_char(out, '\n');
}

static void append_not_ok(const struct table *table, struct buf *out)
{
    bool has_heading = false;
    for (size_t i = 0; i < table->rows_count; i++) {
        const struct table_row *row = &table->rows[i];
        if (row->verdict == VERDICT_OK)
            continue;
        if (!has_heading)
            buf_append_text(out, "\nNot ok:\n");
        has_heading = true;
        buf_appendf(out, "  %s %s seq %" PRIu64 " batch %" PRIu64, row->mode, row->precision,
                    row->seq_len, row->batch_size);
        if (row->trial > 0)
            buf_appendf(out, " trial %" PRIu64, row->trial);
        buf_appendf(out, ": %s%s%s\n", verdict_name(row->verdict),
                    row->reasons[0] != '\0' ? ": " : "", row->reasons);
    }
}

void table_format(const struct table *table, bool is_colored, struct buf *out)
{
    if (table->rows_count == 0)
        return;
    size_t widths[COLUMNS_COUNT];
    measure_columns(table, widths);
    bool is_synthetic = false;
    for (size_t i = 0; i < table->rows_count; i++)
        is_synthetic |= table->rows[i].is_synthetic;
    if (is_synthetic)
        buf_append_text(out, "SYNTHETIC: these figures are made up; nothing was measured.\n\n");
    append_line(NULL, widths, is_colored, out);
    for (size_t i = 0; i < table->rows_count; i++)
        append_line(&table->rows[i], widths, is_colored, out);
    append_not_ok(table, out);
    cures_format(&table->cures, out);
    for (size_t i = 0; i < table->rows_count; i++) {
        const char *data = table->rows[i].tokens_data;
        if (data[0] == '\0' || strcmp(data, "none") == 0)
            continue;
        bool is_made = strncmp(data, "synthetic", strlen("synthetic")) == 0;
        buf_appendf(out, "\n%s on %s%s\n", is_synthetic ? "Made up" : "Measured", data,
                    is_made ? " tokens" : "");
        break;
    }
}

void table_describe_record(const struct record *record, struct buf *out)
{
    char text[CELL_BYTES];
    buf_append_text(out, record_string(record, RECORD_VERDICT));
    if (!record_is_null(record, RECORD_MS_P50)) {
        format_number(record_double(record, RECORD_MS_P50), text);
        buf_appendf(out, ", %s ms/step", text);
        format_number(record_double(record, RECORD_TOKENS_PER_SEC), text);
        buf_appendf(out, ", %s tokens/s, n %" PRIu64, text, record_u64(record, RECORD_SAMPLES));
    }
    if (record_bool(record, RECORD_SYNTHETIC))
        buf_append_text(out, ", synthetic");
    struct buf reasons;
    buf_init(&reasons, REASONS_BYTES_MAX);
    append_reasons(record, &reasons);
    if (reasons.length_bytes > 0)
        buf_appendf(out, ": %s", reasons.data);
    buf_release(&reasons);
}
