#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/wrap.h"
#include "cli/render/table_row.h"

#define LINE_BYTES_MAX 1024

static int compare_rows(const void *a, const void *b)
{
    const struct table_row *left = a;
    const struct table_row *right = b;
    if (left->place != right->place)
        return left->place < right->place ? -1 : 1;
    return left->trial < right->trial ? -1 : left->trial > right->trial;
}

void table_sort(struct table *table)
{
    if (table->rows_count > 0)
        qsort(table->rows, table->rows_count, sizeof(table->rows[0]), compare_rows);
}

static bool is_valid(const struct table_row *row)
{
    return row->verdict == VERDICT_OK || row->verdict == VERDICT_UNSTEADY;
}

/* One row of the rows of a cell: what the last trial with results knows of all of them, the tokens
 * of all valid ones / their windows, and the worst verdict, which stands last in the list. */
static struct table_row merge_rows(const struct table_row *rows, size_t count)
{
    struct table_row merged = rows[0];
    merged.ms_p50 = merged.ms_low = merged.ms_high = merged.tokens_per_second = NAN;
    merged.peak_mib = merged.loss = NAN;
    merged.tokens = merged.window_ms = 0;
    merged.trials = (struct trials){0};
    merged.trials_count = count;
    for (size_t i = 0; i < count; i++) {
        const struct table_row *row = &rows[i];
        bool has_trials = row->trials.count >= merged.trials.count && row->trials.count > 0;
        if (has_trials)
            merged.trials = row->trials;
        if (row->verdict > merged.verdict)
            merged.verdict = row->verdict;
        merged.peak_mib = fmax(merged.peak_mib, row->peak_mib);
        merged.loss = isnan(row->loss) ? merged.loss : row->loss;
        merged.valid_count += is_valid(row) ? 1 : 0;
        if (!is_valid(row) || isnan(row->window_ms))
            continue;
        if (isnan(merged.ms_p50)) /* the only one there may be */
            merged.ms_p50 = row->ms_p50;
        merged.tokens += row->tokens;
        merged.window_ms += row->window_ms;
    }
    if (merged.trials.count > 0) {
        merged.ms_p50 = merged.trials.location;
        merged.ms_low = merged.trials.location_95.low;
        merged.ms_high = merged.trials.location_95.high;
    }
    if (merged.window_ms > 0)
        merged.tokens_per_second = merged.tokens * 1e3 / merged.window_ms;
    return merged;
}

void table_merge_trials(const struct table *table, struct table *ret_by_cell)
{
    struct table_row *merged = calloc(table->rows_count, sizeof(*merged));
    if (merged == NULL)
        return;
    size_t merged_count = 0;
    for (size_t first = 0, end = 0; first < table->rows_count; first = end) {
        while (end < table->rows_count && table->rows[end].place == table->rows[first].place)
            end++;
        merged[merged_count++] = merge_rows(&table->rows[first], end - first);
    }
    *ret_by_cell = (struct table){.rows = merged, .rows_count = merged_count, .is_by_cell = true};
}

/* The trial of a cell that says of itself the widest interval. */
static struct measure_reading widest_within(const struct table *table, size_t place)
{
    struct measure_reading widest = {0};
    for (size_t i = 0; i < table->rows_count; i++) {
        const struct table_row *row = &table->rows[i];
        if (row->place != place || !isfinite(row->own_low) || !isfinite(row->own_high) ||
            !is_valid(row))
            continue;
        if (!widest.median_95.is_known ||
            row->own_high * widest.median_95.low > widest.median_95.high * row->own_low)
            widest = (struct measure_reading){.median = row->ms_p50,
                                              .median_95 = {true, row->own_low, row->own_high}};
    }
    return widest;
}

void table_append_wider(const struct table *table, const struct table *by_cell, size_t columns,
                        struct buf *out)
{
    bool has_heading = false;
    for (size_t i = 0; i < by_cell->rows_count; i++) {
        const struct table_row *row = &by_cell->rows[i];
        struct measure_reading within = widest_within(table, row->place);
        if (row->trials.count == 0 || !trials_are_wider(&row->trials, &within, 1))
            continue;
        if (!has_heading) {
            buf_append_char(out, '\n');
            wrap_text("Trials differ by more than a trial's own interval says; go by the interval "
                      "between trials:",
                      columns, 0, 0, out);
        }
        has_heading = true;
        struct buf line;
        buf_init(&line, LINE_BYTES_MAX);
        table_append_name(row, &line);
        buf_appendf(&line, ": %.4g-%.4g ms between %zu trials, %.4g-%.4g ms within the widest",
                    row->ms_low, row->ms_high, row->trials.count, within.median_95.low,
                    within.median_95.high);
        buf_append_text(out, "  ");
        wrap_text(line.data, columns, 2, 4, out);
        buf_release(&line);
    }
}
