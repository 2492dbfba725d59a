/* result/cells.h - which cell each of many records is of, and what the record makes of the cell's
 * earlier ones: the one rule for what the current result of a cell is.
 *
 * Two records are of one cell if their cell_id is the same. Records of the published scripts have
 * none: they are told by framework, device, precision, mode, seq_len and batch_size. A caller may
 * name other fields to tell cells by.
 *
 * Records come in the order in which they were written. A cell's current result is that of the
 * newest run (`run_id`) and of earlier runs in the same environment (environment_id and
 * engine_version), which say how far runs are apart; what was measured in another environment, or
 * before a run of the cell failed, is superseded. A record that was there before counts once.
 *
 * Some 25 bytes a cell and 12 a side and cell; a record more of a cell that has one costs up to 64.
 */
#ifndef RESULT_CELLS_H
#define RESULT_CELLS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"
#include "result/reader.h"

#define CELLS_MAX ((size_t)1 << 28)

struct cells; /* opaque */

struct cells_options {
    const enum fact_id *by; /* borrowed for the cells' life; NULL = as above */
    size_t by_count;
    size_t sides_count;    /* sets of records that are told apart, such as a base and a new one */
    bool takes_newest_run; /* earlier runs are superseded in any environment */
};

enum cells_effect {
    CELLS_ADDS,     /* a first result of the cell, or one more */
    CELLS_REPLACES, /* what the side had of the cell before is superseded */
    CELLS_KNOWN     /* it was there before */
};

struct cells_place {
    size_t cell; /* from 0, in the order in which they came, over all sides */
    enum cells_effect effect;
    bool has_result; /* ok, unsteady, or published; else the cell failed */
};

/* The fields that a reader must give (admit.h's among them), beside those of `by`. */
extern const enum fact_id cells_fields[];
extern const size_t cells_fields_count;

MUST_CHECK enum status cells_new(const struct cells_options *options, struct cells **ret_cells,
                                 struct err *err);
void cells_free(struct cells *cells);
/* `item` is a record. STATUS_LIMIT over CELLS_MAX cells; STATUS_NOMEM. */
MUST_CHECK enum status cells_take(struct cells *cells, size_t side, const struct reader_item *item,
                                  struct cells_place *ret_place, struct err *err);
size_t cells_count(const struct cells *cells);

#endif
