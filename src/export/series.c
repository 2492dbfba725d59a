#include "export/series.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/chunks.h"
#include "export/identity.h"

#define TEXTS_BYTES_MAX ((size_t)16 << 30)

struct series_row {
    size_t text; /* where it begins in `texts` */
    size_t next; /* row + 1 of the cell; 0 = none */
    uint64_t trial;
    bool is_current;
};

struct series {
    size_t numbers_count;
    size_t count;
    struct chunks rows;    /* struct series_row */
    struct chunks numbers; /* double, numbers_count a row */
    struct chunks cells;   /* size_t: the first row + 1 of a cell; 0 = none */
    struct buf texts;      /* each with its NUL */
};

enum status series_new(size_t numbers_count, struct series **ret_series, struct err *err)
{
    struct series *series = calloc(1, sizeof(*series));
    if (series == NULL)
        return ERR(err, STATUS_NOMEM, "no memory for results");
    series->numbers_count = numbers_count;
    chunks_init(&series->rows, sizeof(struct series_row));
    chunks_init(&series->numbers, (numbers_count > 0 ? numbers_count : 1) * sizeof(double));
    chunks_init(&series->cells, sizeof(size_t));
    buf_init(&series->texts, TEXTS_BYTES_MAX);
    *ret_series = series;
    return STATUS_OK;
}

void series_free(struct series *series)
{
    if (series == NULL)
        return;
    chunks_release(&series->rows);
    chunks_release(&series->numbers);
    chunks_release(&series->cells);
    buf_release(&series->texts);
    free(series);
}

size_t series_count(const struct series *series)
{
    return series->count;
}

bool series_row(const struct series *series, size_t row, const char **ret_text,
                const double **ret_numbers)
{
    const struct series_row *found = chunks_find(&series->rows, row);
    if (found == NULL || !found->is_current)
        return false;
    *ret_text = series->texts.data + found->text;
    *ret_numbers = chunks_find(&series->numbers, row);
    return true;
}

static struct series_row *row_at(const struct series *series, size_t link)
{
    return link == 0 ? NULL : chunks_find(&series->rows, link - 1);
}

/* The cell's row of that trial; its last one where there is none yet. */
static size_t find_row(const struct series *series, size_t first, uint64_t trial,
                       bool *ret_is_found)
{
    size_t link = first;
    size_t last = first;
    *ret_is_found = false;
    for (struct series_row *row = row_at(series, link); row != NULL; row = row_at(series, link)) {
        last = link;
        if (row->trial == trial) {
            *ret_is_found = true;
            break;
        }
        link = row->next;
    }
    return last;
}

static bool make_row(struct series *series, size_t *first, size_t last, size_t *ret_index)
{
    struct series_row *row = chunks_at(&series->rows, series->count);
    if (row == NULL || chunks_at(&series->numbers, series->count) == NULL)
        return false;
    struct series_row *before = row_at(series, last);
    *ret_index = series->count++;
    if (before != NULL)
        before->next = series->count;
    else
        *first = series->count;
    return true;
}

enum status series_put(struct series *series, const struct export_item *item,
                       const struct buf *text, const double *numbers, struct err *err)
{
    uint64_t trial = record_u64(item->record, FACT_TRIAL);
    size_t *first = chunks_at(&series->cells, item->place.cell);
    if (first == NULL)
        return ERR(err, STATUS_NOMEM, "no memory for results");
    if (item->place.effect == CELLS_REPLACES)
        for (struct series_row *row = row_at(series, *first); row != NULL;
             row = row_at(series, row->next))
            row->is_current = false;
    bool is_found = false;
    size_t index = find_row(series, *first, trial, &is_found);
    if (is_found)
        index--;
    else if (!make_row(series, first, index, &index))
        return ERR(err, STATUS_NOMEM, "no memory for results");
    struct series_row *row = chunks_at(&series->rows, index);
    double *kept = chunks_at(&series->numbers, index);
    memcpy(kept, numbers, series->numbers_count * sizeof(*numbers));
    row->trial = trial;
    row->is_current = true;
    /* The text of the same thing is mostly the same again. */
    const char *old = series->texts.data + row->text;
    if (is_found && strlen(old) == text->length_bytes &&
        memcmp(old, text->data, text->length_bytes) == 0)
        return STATUS_OK;
    row->text = series->texts.length_bytes;
    buf_append(&series->texts, text->data, text->length_bytes + 1);
    return series->texts.failed || text->failed ? ERR(err, STATUS_NOMEM, "no memory for results")
                                                : STATUS_OK;
}

static double number_of(const struct record *record, enum fact_id field)
{
    double number;
    return export_number(record, field, &number) ? number : NAN;
}

enum status series_put_values(struct series *series, const struct export *export,
                              const struct export_item *item, const struct buf *text,
                              struct err *err)
{
    double numbers[SERIES_NUMBERS_PER_VALUE * FACTS_COUNT];
    for (size_t i = 0; i < export->fields_count; i++) {
        double *value = &numbers[SERIES_NUMBERS_PER_VALUE * i];
        enum fact_id low;
        enum fact_id high;
        value[0] = value[1] = value[2] = NAN;
        if (!item->has_result)
            continue;
        value[0] = number_of(item->record, export->fields[i]);
        if (!identity_find_interval(export->fields[i], &low, &high))
            continue;
        value[1] = number_of(item->record, low);
        value[2] = number_of(item->record, high);
    }
    return series_put(series, item, text, numbers, err);
}

struct series_value series_value(const double *numbers, size_t field)
{
    const double *value = &numbers[SERIES_NUMBERS_PER_VALUE * field];
    return (struct series_value){value[0], value[1], value[2]};
}
