/* cli/render/table.h - the table on stdout at the end of a run, made from the records. */
#ifndef CLI_RENDER_TABLE_H
#define CLI_RENDER_TABLE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/grid.h"
#include "base/status.h"
#include "cli/render/hints.h"
#include "result/record.h"

#define TABLE_BYTES_MAX ((size_t)256 * 1024 * 1024)

struct table_row; /* table_row.h */

struct table {
    struct table_row *rows; /* owned */
    size_t rows_count;
    size_t rows_capacity;
    struct hints hints; /* for their reasons */
    bool is_by_cell;    /* set before table_format(): one line a cell, of all its trials */
    bool is_verbose;    /* set before table_add(): the whole text of reasons and warnings */
};

/* Green, yellow or red. */
enum grid_color table_verdict_color(enum verdict verdict);

void table_release(struct table *table);
/* Copies what it needs of the record; `place` is the cell's in the plan, the order of lines.
 * STATUS_NOMEM only. */
MUST_CHECK enum status table_add(struct table *table, size_t place, const struct record *record,
                                 struct err *err);
/* What was measured and on what machine, the table, the reasons of the cells that are not ok,
 * warnings and hints. Sorts the rows. */
void table_format(struct table *table, const struct grid_style *style, struct buf *out);
/* One record in short: "ok, ms_p50 12.3 -1.0/+1.2 %, tokens_per_sec 41,600, samples 400" or "oom:
 * memory_does_not_fit". The reasons' texts are the table's to tell. */
void table_describe_record(const struct record *record, struct buf *out);

#endif
