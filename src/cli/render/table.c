#include "cli/render/table.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/num.h"
#include "cli/render/table_row.h"
#include "spec/cell.h"
#include "spec/verdict.h"

#define REASONS_BYTES_MAX 8192

enum column {
    COLUMN_ENGINE,
    COLUMN_MODEL,
    COLUMN_MODE,
    COLUMN_PRECISION,
    COLUMN_SEQ,
    COLUMN_BATCH,
    COLUMN_VERDICT,
    COLUMN_MS,
    COLUMN_INTERVAL,
    COLUMN_SPREAD,
    COLUMN_TOKENS,
    COLUMN_PEAK,
    COLUMN_LOSS,
    COLUMNS_COUNT
};

static const struct {
    const char *heading;
    const char *trials_heading; /* over all trials of a cell; NULL = the same */
    bool is_right;
    size_t width_min; /* when the table is too wide; 0 = never cut */
} columns[COLUMNS_COUNT] = {
    [COLUMN_ENGINE] = {"engine", NULL, false, 8},
    [COLUMN_MODEL] = {"model", NULL, false, 8},
    [COLUMN_MODE] = {"mode", NULL, false, 0},
    [COLUMN_PRECISION] = {"prec", NULL, false, 0},
    [COLUMN_SEQ] = {"seq", NULL, true, 0},
    [COLUMN_BATCH] = {"batch", NULL, true, 0},
    [COLUMN_VERDICT] = {"verdict", "trials", false, 0},
    [COLUMN_MS] = {"median ms", "mean ms", true, 0},
    [COLUMN_INTERVAL] = {"95% interval", "95% of trials", true, 0},
    [COLUMN_SPREAD] = {"spread %", NULL, true, 0},
    [COLUMN_TOKENS] = {"tokens/s", NULL, true, 0},
    [COLUMN_PEAK] = {"peak MiB", NULL, true, 0},
    [COLUMN_LOSS] = {"loss", NULL, true, 0},
};

void table_release(struct table *table)
{
    for (size_t i = 0; i < table->rows_count; i++) {
        free(table->rows[i].reasons);
        free(table->rows[i].warnings);
        free(table->rows[i].tokens_data);
        free(table->rows[i].chosen);
    }
    free(table->rows);
    *table = (struct table){0};
}

/* "code: text; code: text" of a record's reasons or warnings; a code that the verdict before it
 * says already is left out. */
static void append_reasons(const struct record *record, enum fact_id field, struct buf *out)
{
    const char *verdict = record_string(record, FACT_VERDICT);
    const struct reasons *reasons = record_reasons(record, field);
    for (size_t i = 0; i < reasons->count; i++) {
        const struct reason *reason = &reasons->items[i];
        bool has_text = reason->text[0] != '\0';
        bool is_said = has_text && strcmp(reason->code, verdict) == 0;
        buf_appendf(out, "%s%s%s%s", i > 0 ? "; " : "", is_said ? "" : reason->code,
                    has_text && !is_said ? ": " : "", reason->text);
    }
    /* Reasons quote workers: keep them on their line. */
    for (size_t i = 0; i < out->length_bytes; i++)
        if ((unsigned char)out->data[i] < 0x20 || out->data[i] == 0x7f)
            out->data[i] = ' ';
}

/* NULL without memory. */
static char *copy_reasons(const struct record *record, enum fact_id field)
{
    struct buf text;
    buf_init(&text, REASONS_BYTES_MAX);
    append_reasons(record, field, &text);
    char *copy = strdup(text.data);
    buf_release(&text);
    return copy;
}

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

/* "vocab_size 50257: 6.49 M parameters"; NULL without memory. */
static char *describe_chosen(const struct record *record)
{
    const char *chosen = record_string(record, FACT_MODEL_CHOSEN);
    struct buf text;
    buf_init(&text, REASONS_BYTES_MAX);
    for (const char *c = chosen; *c != '\0'; c++)
        buf_append_char(&text, (unsigned char)*c < 0x20 || *c == 0x7f ? ' ' : *c);
    if (chosen[0] != '\0' && !record_is_null(record, FACT_PARAMS_TOTAL)) {
        char params[NUM_TEXT_BYTES];
        num_format_count((double)record_u64(record, FACT_PARAMS_TOTAL), params);
        buf_appendf(&text, ": %s parameters", params);
    }
    char *copy = strdup(text.data);
    buf_release(&text);
    return copy;
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
        .ms_low = value_of(record, FACT_MS_P50_LOW),
        .ms_high = value_of(record, FACT_MS_P50_HIGH),
        .tokens_per_second = value_of(record, FACT_TOKENS_PER_SEC),
        .peak_mib = value_of(record, FACT_PEAK_MEM_MB),
        .loss = value_of(record, FACT_LOSS_LAST),
    };
    copy_word(record, FACT_FRAMEWORK, row.framework, sizeof(row.framework));
    copy_word(record, FACT_MODEL, row.model, sizeof(row.model));
    copy_word(record, FACT_MODE, row.mode, sizeof(row.mode));
    copy_word(record, FACT_PRECISION, row.precision, sizeof(row.precision));
    if (!verdict_parse(record_string(record, FACT_VERDICT), &row.verdict))
        row.verdict = VERDICT_INVALID;
    row.reasons = copy_reasons(record, FACT_REASONS);
    row.warnings = copy_reasons(record, FACT_WARNINGS);
    row.tokens_data = strdup(record_string(record, FACT_TOKENS_DATA));
    row.chosen = describe_chosen(record);
    if (row.reasons == NULL || row.warnings == NULL || row.tokens_data == NULL ||
        row.chosen == NULL) {
        free(row.reasons);
        free(row.warnings);
        free(row.tokens_data);
        free(row.chosen);
        return ERR(err, STATUS_NOMEM, "no memory for the table");
    }
    table->rows[table->rows_count++] = row;
    hints_add(&table->hints, record);
    return STATUS_OK;
}

/* Four significant digits, more only if the integer part has more. */
static int decimals_for(double value)
{
    double size = fabs(value);
    if (size > 0 && size < 0.01)
        return 6;
    return size < 10 ? 3 : size < 100 ? 2 : size < 1000 ? 1 : 0;
}

/* "1,234,567" from 1234567. */
static void format_grouped(double value, char text[TABLE_CELL_BYTES])
{
    char digits[64];
    int length = snprintf(digits, sizeof(digits), "%.0f", value);
    size_t at = 0;
    for (int i = 0; i < length && at + 2 < TABLE_CELL_BYTES; i++) {
        text[at++] = digits[i];
        int left = length - 1 - i;
        if (digits[i] != '-' && left > 0 && left % 3 == 0)
            text[at++] = ',';
    }
    text[at] = '\0';
}

static void format_number(double value, char text[TABLE_CELL_BYTES])
{
    if (!isfinite(value))
        (void)snprintf(text, TABLE_CELL_BYTES, "-");
    else if (fabs(value) >= 1000)
        format_grouped(value, text);
    else
        (void)snprintf(text, TABLE_CELL_BYTES, "%.*f", decimals_for(value), value);
}

static void format_interval(const struct table_row *row, char text[TABLE_CELL_BYTES])
{
    if (!isfinite(row->ms_low) || !isfinite(row->ms_high)) {
        (void)snprintf(text, TABLE_CELL_BYTES, "-");
        return;
    }
    int decimals = decimals_for(row->ms_high);
    (void)snprintf(text, TABLE_CELL_BYTES, "%.*f-%.*f", decimals, row->ms_low, decimals,
                   row->ms_high);
}

static void format_cell(const struct table_row *row, enum column column,
                        char text[TABLE_CELL_BYTES])
{
    text[0] = '\0';
    switch (column) {
    case COLUMN_ENGINE: (void)snprintf(text, TABLE_CELL_BYTES, "%s", row->framework); break;
    case COLUMN_MODEL: (void)snprintf(text, TABLE_CELL_BYTES, "%s", row->model); break;
    case COLUMN_MODE: (void)snprintf(text, TABLE_CELL_BYTES, "%s", row->mode); break;
    case COLUMN_PRECISION: (void)snprintf(text, TABLE_CELL_BYTES, "%s", row->precision); break;
    case COLUMN_SEQ: (void)snprintf(text, TABLE_CELL_BYTES, "%" PRIu64, row->seq_len); break;
    case COLUMN_BATCH: (void)snprintf(text, TABLE_CELL_BYTES, "%" PRIu64, row->batch_size); break;
    case COLUMN_VERDICT:
        (void)snprintf(text, TABLE_CELL_BYTES, "%s",
                       row->verdicts[0] != '\0' ? row->verdicts : verdict_name(row->verdict));
        break;
    case COLUMN_MS: format_number(row->ms_p50, text); break;
    case COLUMN_INTERVAL: format_interval(row, text); break;
    case COLUMN_SPREAD:
        format_number(row->trials.spread_percent.is_known ? row->trials.spread_percent.value : NAN,
                      text);
        break;
    case COLUMN_TOKENS: format_number(row->tokens_per_second, text); break;
    case COLUMN_PEAK: format_number(row->peak_mib, text); break;
    case COLUMN_LOSS: format_number(row->loss, text); break;
    case COLUMNS_COUNT: break;
    }
    for (char *c = text; *c != '\0'; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = '?';
}

static const char *heading(const struct table *table, enum column column)
{
    const char *of_trials = table->is_by_cell ? columns[column].trials_heading : NULL;
    return of_trials != NULL ? of_trials : columns[column].heading;
}

/* Width of every column, 0 = not shown. Model and engine give way when the line is too long. */
static void measure_columns(const struct table *table, size_t widths[COLUMNS_COUNT])
{
    size_t total = 0;
    for (int column = 0; column < COLUMNS_COUNT; column++) {
        widths[column] = 0;
        if (column == COLUMN_SPREAD && !table->is_by_cell)
            continue;
        widths[column] = strlen(heading(table, (enum column)column));
        for (size_t i = 0; i < table->rows_count; i++) {
            char text[TABLE_CELL_BYTES];
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

/* A row of the table; NULL for its headings. */
static void append_line(const struct table *table, const struct table_row *row,
                        const size_t widths[COLUMNS_COUNT], bool is_colored, struct buf *out)
{
    for (int column = 0; column < COLUMNS_COUNT; column++) {
        char text[TABLE_CELL_BYTES];
        const char *color = NULL;
        if (widths[column] == 0)
            continue;
        if (row == NULL) {
            (void)snprintf(text, sizeof(text), "%s", heading(table, (enum column)column));
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

static void append_row_name(const struct table *table, const struct table_row *row, struct buf *out)
{
    buf_appendf(out, "  %s %s seq %" PRIu64 " batch %" PRIu64, row->mode, row->precision,
                row->seq_len, row->batch_size);
    if (table->is_by_cell)
        buf_appendf(out, " trial %" PRIu64, row->trial + 1);
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
        append_row_name(table, row, out);
        buf_appendf(out, ": %s%s%s\n", verdict_name(row->verdict),
                    row->reasons[0] != '\0' ? ": " : "", row->reasons);
    }
}

static void append_warnings(const struct table *table, struct buf *out)
{
    bool has_heading = false;
    for (size_t i = 0; i < table->rows_count; i++) {
        const struct table_row *row = &table->rows[i];
        if (row->warnings[0] == '\0')
            continue;
        if (!has_heading)
            buf_append_text(out, "\nWarnings:\n");
        has_heading = true;
        append_row_name(table, row, out);
        buf_appendf(out, ": %s\n", row->warnings);
    }
}

static void append_lines(const struct table *table, bool is_colored, struct buf *out)
{
    size_t widths[COLUMNS_COUNT];
    measure_columns(table, widths);
    append_line(table, NULL, widths, is_colored, out);
    for (size_t i = 0; i < table->rows_count; i++)
        append_line(table, &table->rows[i], widths, is_colored, out);
}

/* A model of one's own that nobody gave a vocabulary, or whose length was too short: each choice
 * once. */
static void append_chosen(const struct table *table, struct buf *out)
{
    size_t lines_count = 0;
    for (size_t i = 0; i < table->rows_count; i++) {
        const char *chosen = table->rows[i].chosen;
        bool is_said = chosen[0] == '\0';
        for (size_t j = 0; j < i && !is_said; j++)
            is_said = strcmp(table->rows[j].chosen, chosen) == 0;
        if (!is_said)
            buf_appendf(out, "%sChosen for the model (--set gives other values): %s\n",
                        lines_count++ == 0 ? "\n" : "", chosen);
    }
}

void table_format(const struct table *table, bool is_colored, struct buf *out)
{
    if (table->rows_count == 0)
        return;
    bool is_synthetic = false;
    for (size_t i = 0; i < table->rows_count; i++)
        is_synthetic |= table->rows[i].is_synthetic;
    if (is_synthetic)
        buf_append_text(out, "SYNTHETIC: these results are made up; nothing was measured.\n\n");
    struct table by_cell = {0};
    if (table->is_by_cell)
        table_merge_trials(table, &by_cell);
    append_lines(by_cell.rows_count > 0 ? &by_cell : table, is_colored, out);
    table_append_wider(table, &by_cell, out);
    free(by_cell.rows);
    append_not_ok(table, out);
    append_warnings(table, out);
    hints_format(&table->hints, out);
    append_chosen(table, out);
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
    char text[TABLE_CELL_BYTES];
    buf_append_text(out, record_string(record, FACT_VERDICT));
    if (!record_is_null(record, FACT_MS_P50)) {
        format_number(record_double(record, FACT_MS_P50), text);
        buf_appendf(out, ", ms_p50 %s", text);
        format_number(value_of(record, FACT_TOKENS_PER_SEC), text);
        buf_appendf(out, ", tokens_per_sec %s, samples %" PRIu64, text,
                    record_u64(record, FACT_SAMPLES));
    }
    if (record_bool(record, FACT_SYNTHETIC))
        buf_append_text(out, ", synthetic");
    static const struct {
        enum fact_id field;
        const char *title;
    } lists[] = {{FACT_REASONS, ": "}, {FACT_WARNINGS, "; warning: "}};
    for (size_t i = 0; i < ARRAY_COUNT(lists); i++) {
        if (record_reasons(record, lists[i].field)->count == 0)
            continue;
        buf_append_text(out, lists[i].title);
        struct buf reasons;
        buf_init(&reasons, REASONS_BYTES_MAX);
        append_reasons(record, lists[i].field, &reasons);
        buf_append_text(out, reasons.data);
        buf_release(&reasons);
    }
}
