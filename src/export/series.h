/* export/series.h - the current results of cells, for forms that hold one value for each thing: a
 * row for each trial of a cell's newest run.
 *
 * A row has a text that the exporter makes, and a number for each of its fields. Rows stay in the
 * order in which their cells came; some 8 bytes a number and the texts, whatever is read.
 */
#ifndef EXPORT_SERIES_H
#define EXPORT_SERIES_H

#include "export/exporter.h"

struct series; /* opaque */

/* Rows have `numbers_count` numbers. */
MUST_CHECK enum status series_new(size_t numbers_count, struct series **ret_series,
                                  struct err *err);
void series_free(struct series *series);
/* `numbers`: NaN = not known. What the record supersedes is forgotten. */
MUST_CHECK enum status series_put(struct series *series, const struct export_item *item,
                                  const struct buf *text, const double *numbers, struct err *err);
/* Rows, with those that were superseded. */
size_t series_count(const struct series *series);
/* False: the row was superseded. Borrowed: until the next series_put(). */
bool series_row(const struct series *series, size_t row, const char **ret_text,
                const double **ret_numbers);

/* The numbers are the record's fields in their own units, each with the ends of its 95 % interval
 * behind it; none of a cell that failed. */
struct series_value {
    double value, low, high; /* NaN = not known */
};
#define SERIES_NUMBERS_PER_VALUE 3
MUST_CHECK enum status series_put_values(struct series *series, const struct export *export,
                                         const struct export_item *item, const struct buf *text,
                                         struct err *err);
struct series_value series_value(const double *numbers, size_t field);

#endif
