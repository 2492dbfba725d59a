#include "report/fits.h"

#include <math.h>
#include <stdlib.h>

#include "base/num.h"

#define MIB (1024.0 * 1024.0)

static bool shares_table(const struct report_cell *a, const struct report_cell *b)
{
    for (enum report_key key = 0; key < REPORT_KEY_SEQ; key++)
        if (report_cell_compare(a, b, key) != 0)
            return false;
    return true;
}

/* The place of `value` in the list, which stays in order; SIZE_MAX: there is no room. */
static size_t place_of(uint32_t value, const uint32_t *values, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (values[i] == value)
            return i;
    return SIZE_MAX;
}

static void add_value(uint32_t value, uint32_t *values, size_t *count, size_t max)
{
    if (place_of(value, values, *count) != SIZE_MAX || *count == max)
        return;
    size_t at = (*count)++;
    for (; at > 0 && values[at - 1] > value; at--)
        values[at] = values[at - 1];
    values[at] = value;
}

static void fill(struct fits_table *table, const struct report_cell *cells, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        add_value(cells[i].seq_len, table->seqs, &table->seqs_count, FITS_COLUMNS_MAX);
        add_value(cells[i].batch_size, table->batches, &table->batches_count, FITS_ROWS_MAX);
    }
    for (size_t i = 0; i < count; i++) {
        size_t column = place_of(cells[i].seq_len, table->seqs, table->seqs_count);
        size_t row = place_of(cells[i].batch_size, table->batches, table->batches_count);
        if (column == SIZE_MAX || row == SIZE_MAX)
            table->dropped_count++;
        else
            table->cells[row][column] = &cells[i];
    }
}

enum status fits_make(struct report *report, struct fits *fits, struct err *err)
{
    unsigned keys = 1U << REPORT_KEY_MODE | 1U << REPORT_KEY_ENGINE | 1U << REPORT_KEY_PRECISION;
    for (enum report_key key = 0; key < REPORT_KEY_SEQ; key++)
        keys |= report->is_varied[key] ? 1U << key : 0;
    fits->tables = calloc(FITS_TABLES_MAX, sizeof(*fits->tables));
    if (fits->tables == NULL)
        return ERR(err, STATUS_NOMEM, "no memory for what fits");
    for (size_t i = 0; i < report->cells_count;) {
        size_t length = 1;
        while (i + length < report->cells_count &&
               shares_table(&report->cells[i], &report->cells[i + length]))
            length++;
        if (length > 1 && fits->tables_count == FITS_TABLES_MAX) {
            fits->left_out++;
        } else if (length > 1) {
            struct fits_table *table = &fits->tables[fits->tables_count++];
            struct buf title CLEANUP(buf_release) = {0};
            buf_init(&title, TEXTS_BYTES_MAX);
            report_cell_name(report, &report->cells[i], keys, &title);
            table->title = texts_keep(&report->texts, title.data);
            fill(table, &report->cells[i], length);
        }
        i += length;
    }
    return STATUS_OK;
}

void fits_release(struct fits *fits)
{
    free(fits->tables);
    *fits = (struct fits){0};
}

static void append_mb(double mb, struct buf *out)
{
    char text[NUM_TEXT_BYTES];
    num_format_bytes(mb > 0 ? (uint64_t)(mb * MIB) : 0, text);
    buf_append_text(out, text);
}

void fits_append_cell(const struct report_cell *cell, struct buf *out)
{
    if (cell == NULL)
        return;
    double mb = isnan(cell->peak_mb) ? cell->predicted_mb : cell->peak_mb;
    if (!cell->has_result) {
        buf_append_text(out, verdict_name(cell->verdict));
        if (cell->verdict == VERDICT_OOM && cell->needed_mb > 0) {
            buf_append_text(out, ": needs ");
            append_mb(cell->needed_mb, out);
        }
    } else if (mb >= 0) {
        append_mb(mb, out);
    } else {
        buf_append_text(out, "fits");
    }
}

void fits_column(const struct fits_table *table, size_t column, uint32_t *ret_fits,
                 uint32_t *ret_fails)
{
    *ret_fits = *ret_fails = 0;
    for (size_t row = 0; row < table->batches_count; row++) {
        const struct report_cell *cell = table->cells[row][column];
        if (cell == NULL)
            continue;
        if (cell->has_result)
            *ret_fits = table->batches[row];
        else if (cell->verdict == VERDICT_OOM && *ret_fails == 0)
            *ret_fails = table->batches[row];
    }
}
