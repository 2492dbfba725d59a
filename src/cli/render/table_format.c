#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/grid.h"
#include "base/num.h"
#include "base/wrap.h"
#include "cli/render/table_row.h"

#define LINE_BYTES_MAX 16384

/* --- columns --- */

enum column {
    COLUMN_PARALLEL,
    COLUMN_PRECISION,
    COLUMN_MODE,
    COLUMN_SEQ,
    COLUMN_BATCH,
    COLUMN_VERDICT,
    COLUMN_TRIALS,
    COLUMN_MS,
    COLUMN_PERCENT,
    COLUMN_INTERVAL,
    COLUMN_SPREAD,
    COLUMN_TOKENS,
    COLUMN_PEAK,
    COLUMN_LOSS,
    COLUMNS_COUNT
};

/* Names are the fields'; what tells the lines apart, and the median, is always shown. */
static const struct {
    struct grid_column column;
    const char *trials_name; /* over all trials of a cell; NULL = the same */
} all[COLUMNS_COUNT] = {
    [COLUMN_PARALLEL] = {{"parallel", "", false, 0}, NULL},
    [COLUMN_PRECISION] = {{"precision", "", false, 0}, NULL},
    [COLUMN_MODE] = {{"mode", "", false, 0}, NULL},
    [COLUMN_SEQ] = {{"seq_len", "tokens", true, 0}, NULL},
    [COLUMN_BATCH] = {{"batch_size", "rows", true, 0}, NULL},
    [COLUMN_VERDICT] = {{"verdict", "", false, 1}, NULL},
    [COLUMN_TRIALS] = {{"trials", "", false, 4}, NULL},
    [COLUMN_MS] = {{"ms_p50", "ms", true, 0}, "trials_ms"},
    [COLUMN_PERCENT] = {{"interval", "", true, 2}, NULL},
    [COLUMN_INTERVAL] = {{"next_run_ms_low..high", "ms", true, 5}, "trials_ms_low..high"},
    [COLUMN_SPREAD] = {{"trials_spread_percent", "%", true, 6}, NULL},
    [COLUMN_TOKENS] = {{"tokens_per_sec", "tokens/s", true, 3}, NULL},
    [COLUMN_PEAK] = {{"peak_mem_mb", "MiB", true, 7}, NULL},
    [COLUMN_LOSS] = {{"loss_last", "", true, 8}, NULL},
};

/* The columns of one table. */
struct table_layout {
    size_t count;
    enum column columns[COLUMNS_COUNT];
    struct grid_column heads[COLUMNS_COUNT];
};

static bool has_one_precision(const struct table *table)
{
    for (size_t i = 1; i < table->rows_count; i++)
        if (strcmp(table->rows[i].precision, table->rows[0].precision) != 0)
            return false;
    return true;
}

static bool has_one_layout(const struct table *table)
{
    for (size_t i = 1; i < table->rows_count; i++)
        if (strcmp(table->rows[i].parallel, table->rows[0].parallel) != 0)
            return false;
    return true;
}

static void choose_columns(const struct table *table, bool has_precision, struct table_layout *ret)
{
    *ret = (struct table_layout){0};
    for (int i = 0; i < COLUMNS_COUNT; i++) {
        bool is_of_trials = i == COLUMN_TRIALS || i == COLUMN_SPREAD;
        if ((is_of_trials && !table->is_by_cell) || (i == COLUMN_PRECISION && !has_precision) ||
            (i == COLUMN_PARALLEL && has_one_layout(table)))
            continue;
        ret->columns[ret->count] = (enum column)i;
        ret->heads[ret->count] = all[i].column;
        if (table->is_by_cell && all[i].trials_name != NULL)
            ret->heads[ret->count].name = all[i].trials_name;
        ret->count++;
    }
}

/* --- cells --- */

/* Both ends with as many digits as the higher one. */
static void format_ends(const struct table_row *row, char text[TABLE_NUMBER_BYTES])
{
    char high[TABLE_NUMBER_BYTES];
    char low[TABLE_NUMBER_BYTES];
    (void)snprintf(text, TABLE_NUMBER_BYTES, "-");
    if (!isfinite(row->ms_low) || !isfinite(row->ms_high))
        return;
    table_format_number(row->ms_high, high);
    table_format_number(row->ms_low, low);
    const char *point = strchr(high, '.');
    if (point != NULL)
        (void)snprintf(low, sizeof(low), "%.*f", (int)strlen(point + 1), row->ms_low);
    (void)snprintf(text, TABLE_NUMBER_BYTES, "%.28s..%.28s", low, high);
}

enum grid_color table_verdict_color(enum verdict verdict)
{
    if (verdict == VERDICT_OK)
        return GRID_GREEN;
    return verdict == VERDICT_UNSTEADY ? GRID_YELLOW : GRID_RED;
}

static void put_cell(const struct table_row *row, enum column column, struct grid *grid)
{
    char text[TABLE_NUMBER_BYTES] = "";
    enum grid_color color = GRID_PLAIN;
    switch (column) {
    case COLUMN_PARALLEL: grid_put(grid, color, row->parallel); return;
    case COLUMN_PRECISION: grid_put(grid, color, row->precision); return;
    case COLUMN_MODE: grid_put(grid, color, row->mode); return;
    case COLUMN_SEQ: (void)snprintf(text, sizeof(text), "%" PRIu64, row->seq_len); break;
    case COLUMN_BATCH: (void)snprintf(text, sizeof(text), "%" PRIu64, row->batch_size); break;
    case COLUMN_VERDICT:
        grid_put(grid, table_verdict_color(row->verdict), verdict_name(row->verdict));
        return;
    case COLUMN_TRIALS:
        (void)snprintf(text, sizeof(text), "%zu of %zu valid", row->valid_count, row->trials_count);
        break;
    case COLUMN_MS: table_format_number(row->ms_p50, text); break;
    case COLUMN_PERCENT: table_format_interval(row->ms_p50, row->ms_low, row->ms_high, text); break;
    case COLUMN_INTERVAL: format_ends(row, text); break;
    case COLUMN_SPREAD:
        table_format_number(
            row->trials.spread_percent.is_known ? row->trials.spread_percent.value : NAN, text);
        break;
    case COLUMN_TOKENS: table_format_number(row->tokens_per_second, text); break;
    case COLUMN_PEAK: table_format_number(row->peak_mib, text); break;
    case COLUMN_LOSS: table_format_number(row->loss, text); break;
    case COLUMNS_COUNT: break;
    }
    grid_put(grid, color, text);
}

/* --- lines under a title for each engine, device, model and machine --- */

static bool is_same_thing(const struct table_row *a, const struct table_row *b)
{
    return strcmp(a->what, b->what) == 0 && strcmp(a->machine, b->machine) == 0;
}

/* The lines of one title. */
static bool is_same_group(const struct table_row *a, const struct table_row *b, bool has_precision)
{
    return is_same_thing(a, b) && (has_precision || strcmp(a->precision, b->precision) == 0);
}

/* "native on cpu: superintelligence-tiny, 6.49 M parameters, fp32; text novel.txt (1234 tokens)".
 * What a cell that failed could not say another of the group has. */
static void append_title(const struct table *table, size_t first, bool has_precision,
                         size_t columns, struct buf *out)
{
    const struct table_row *row = &table->rows[first];
    const char *data = "";
    double params = NAN;
    for (size_t i = first; i < table->rows_count && is_same_thing(row, &table->rows[i]); i++) {
        data = data[0] == '\0' ? table->rows[i].tokens_data : data;
        params = isnan(params) ? table->rows[i].params : params;
    }
    struct buf line;
    buf_init(&line, LINE_BYTES_MAX);
    buf_append_text(&line, row->what);
    if (isfinite(params)) {
        char count[NUM_TEXT_BYTES];
        num_format_count(params, count);
        buf_appendf(&line, ", %s parameters", count);
    }
    if (!has_precision)
        buf_appendf(&line, ", %s", row->precision);
    if (data[0] != '\0')
        buf_appendf(&line, "; %s %s", row->is_synthetic ? "made up on" : "measured on", data);
    wrap_text(line.data, columns, 0, 2, out);
    buf_release(&line);
    bool is_told = first > 0 && strcmp(table->rows[first - 1].machine, row->machine) == 0;
    if (!is_told && row->machine[0] != '\0')
        wrap_text(row->machine, columns, 0, 2, out);
    buf_append_char(out, '\n');
}

static void append_dropped(const struct grid *grid, const struct grid_layout *shown, size_t columns,
                           struct buf *out)
{
    struct buf names;
    buf_init(&names, LINE_BYTES_MAX);
    grid_format_dropped(grid, shown, &names);
    if (names.length_bytes > 0) {
        buf_append_text(out, "\nNo room for: ");
        wrap_text(names.data, columns, strlen("No room for: "), 2, out);
    }
    buf_release(&names);
}

static void fill_grid(const struct table *table, const struct table_layout *layout,
                      struct grid *ret)
{
    grid_init(ret, layout->heads, layout->count);
    for (size_t i = 0; i < table->rows_count; i++)
        for (size_t k = 0; k < layout->count; k++)
            put_cell(&table->rows[i], layout->columns[k], ret);
}

/* A grid that fits: where there is no room for a column of precisions, they go into titles. */
static bool make_grid(const struct table *table, size_t columns, struct table_layout *layout,
                      struct grid *ret_grid, struct grid_layout *ret_shown)
{
    bool has_precision = !has_one_precision(table);
    for (;; has_precision = false) {
        choose_columns(table, has_precision, layout);
        fill_grid(table, layout, ret_grid);
        if (grid_lay_out(ret_grid, columns, ret_shown) || !has_precision)
            return has_precision;
        grid_release(ret_grid);
    }
}

static void append_row(const struct grid *grid, const struct grid_layout *shown, size_t row,
                       bool is_first, const struct grid_style *style, struct buf *out)
{
    if (style->is_markdown) {
        if (is_first)
            grid_format_markdown_head(grid, out);
        grid_format_markdown_row(grid, row, out);
        return;
    }
    if (is_first)
        grid_format_head(grid, shown, style->is_colored, out);
    grid_format_row(grid, shown, row, style->is_colored, out);
}

static void append_rows(const struct table *table, const struct grid_style *style, struct buf *out)
{
    struct table_layout layout;
    struct grid grid;
    struct grid_layout shown;
    bool has_precision = make_grid(table, style->columns, &layout, &grid, &shown);
    out->failed |= grid.text.failed;
    for (size_t i = 0; i < table->rows_count && !out->failed; i++) {
        const struct table_row *row = &table->rows[i];
        bool is_first = i == 0 || !is_same_group(row - 1, row, has_precision);
        if (is_first) {
            buf_append_text(out, i > 0 ? "\n" : "");
            append_title(table, i, has_precision, style->columns, out);
        }
        append_row(&grid, &shown, i, is_first, style, out);
    }
    append_dropped(&grid, &shown, style->columns, out);
    grid_release(&grid);
}

/* --- what is not as it should be --- */

static bool has_one_group(const struct table *table)
{
    for (size_t i = 1; i < table->rows_count; i++)
        if (!is_same_thing(&table->rows[0], &table->rows[i]))
            return false;
    return true;
}

/* "  train fp32 seq 128 batch 4: text", wrapped; in Markdown an item of a list. */
static void append_note(const struct table *table, const struct table_row *row, const char *text,
                        const struct grid_style *style, struct buf *out)
{
    struct buf line;
    buf_init(&line, LINE_BYTES_MAX);
    if (!has_one_group(table))
        buf_appendf(&line, "%s, ", row->what);
    table_append_name(row, &line);
    if (table->is_by_cell)
        buf_appendf(&line, " trial %" PRIu64, row->trial + 1);
    buf_appendf(&line, ": %s", text);
    buf_append_text(out, style->is_markdown ? "- " : "  ");
    wrap_text(line.data, style->columns, 2, 4, out);
    buf_release(&line);
}

static void append_heading(const char *text, const struct grid_style *style, bool *has_heading,
                           struct buf *out)
{
    if (!*has_heading)
        buf_appendf(out, "\n%s\n%s", text, style->is_markdown ? "\n" : "");
    *has_heading = true;
}

static void append_not_ok(const struct table *table, const struct grid_style *style,
                          struct buf *out)
{
    bool has_heading = false;
    for (size_t i = 0; i < table->rows_count; i++) {
        const struct table_row *row = &table->rows[i];
        if (row->verdict == VERDICT_OK)
            continue;
        struct buf text;
        buf_init(&text, LINE_BYTES_MAX);
        buf_appendf(&text, "%s%s%s", verdict_name(row->verdict),
                    row->reasons[0] != '\0' ? ": " : "", row->reasons);
        append_heading("Not ok:", style, &has_heading, out);
        append_note(table, row, text.data, style, out);
        buf_release(&text);
    }
}

static void append_warnings(const struct table *table, const struct grid_style *style,
                            struct buf *out)
{
    bool has_heading = false;
    for (size_t i = 0; i < table->rows_count; i++) {
        if (table->rows[i].warnings[0] == '\0')
            continue;
        append_heading("Warnings:", style, &has_heading, out);
        append_note(table, &table->rows[i], table->rows[i].warnings, style, out);
    }
}

/* The interval is of what another run would give, as far as the machine is known. */
static void append_first_runs(const struct table *table, const struct grid_style *style,
                              struct buf *out)
{
    size_t count = 0;
    for (size_t i = 0; i < table->rows_count; i++)
        count += table->rows[i].is_first_run && isfinite(table->rows[i].ms_low) ? 1 : 0;
    if (count == 0 || table->is_by_cell)
        return;
    buf_append_char(out, '\n');
    wrap_text(
        "Intervals of first runs are of those alone: another run may differ by more, and from "
        "then on the interval counts that in.",
        style->columns, 0, 0, out);
}

/* A model of one's own that nobody gave a vocabulary, or whose length was too short: each choice
 * once. */
static void append_chosen(const struct table *table, const struct grid_style *style,
                          struct buf *out)
{
    static const char title[] = "Chosen for the model (--set gives other values): ";
    bool has_heading = false;
    for (size_t i = 0; i < table->rows_count; i++) {
        const char *chosen = table->rows[i].chosen;
        bool is_said = chosen[0] == '\0';
        for (size_t j = 0; j < i && !is_said; j++)
            is_said = strcmp(table->rows[j].chosen, chosen) == 0;
        if (is_said)
            continue;
        buf_appendf(out, "%s%s", has_heading ? "" : "\n", title);
        wrap_text(chosen, style->columns, strlen(title), 2, out);
        has_heading = true;
    }
}

void table_format(struct table *table, const struct grid_style *style, struct buf *out)
{
    struct grid_style plain = *style;
    if (table->rows_count == 0)
        return;
    if (style->is_markdown)
        plain = (struct grid_style){.is_markdown = true};
    bool is_synthetic = false;
    for (size_t i = 0; i < table->rows_count; i++)
        is_synthetic |= table->rows[i].is_synthetic;
    if (is_synthetic) {
        wrap_text("SYNTHETIC: these results are made up; nothing was measured.", plain.columns, 0,
                  2, out);
        buf_append_char(out, '\n');
    }
    struct table by_cell = {0};
    table_sort(table);
    if (table->is_by_cell)
        table_merge_trials(table, &by_cell);
    append_rows(by_cell.rows_count > 0 ? &by_cell : table, &plain, out);
    table_append_wider(table, &by_cell, plain.columns, out);
    free(by_cell.rows);
    append_first_runs(table, &plain, out);
    append_not_ok(table, &plain, out);
    append_warnings(table, &plain, out);
    hints_format(&table->hints, plain.columns, plain.is_markdown, out);
    append_chosen(table, &plain, out);
}
