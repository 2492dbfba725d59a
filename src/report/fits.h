/* report/fits.h - what fits: a table of sequence lengths and batch sizes for each engine, model,
 * device, mode, precision and set of results. */
#ifndef REPORT_FITS_H
#define REPORT_FITS_H

#include "report/model.h"

#define FITS_TABLES_MAX  60
#define FITS_ROWS_MAX    32 /* batch sizes */
#define FITS_COLUMNS_MAX 24 /* sequence lengths */

/* Cells by batch and sequence length. Texts are borrowed from the report. */
struct fits_table {
    const char *title;
    uint32_t seqs[FITS_COLUMNS_MAX], batches[FITS_ROWS_MAX];
    size_t seqs_count, batches_count;
    const struct report_cell *cells[FITS_ROWS_MAX][FITS_COLUMNS_MAX]; /* borrowed; NULL: not run */
    size_t dropped_count; /* cells for whose shapes there was no room */
};

struct fits {
    struct fits_table *tables; /* owned */
    size_t tables_count;
    size_t left_out;
};

/* Only of what was measured in more than one shape. `fits` is zeroed. */
MUST_CHECK enum status fits_make(struct report *report, struct fits *fits, struct err *err);
void fits_release(struct fits *fits);

/* "540 MiB", "oom: needs 12 GiB", "" where it was not run. */
void fits_append_cell(const struct report_cell *cell, struct buf *out);
/* The largest batch of a column that has a result, and the smallest that does not fit; 0: none. */
void fits_column(const struct fits_table *table, size_t column, uint32_t *ret_fits,
                 uint32_t *ret_fails);

#endif
