/* cli/render/table_row.h - a line of the table, for table.c; and what the trials of a cell come to.
 */
#ifndef CLI_RENDER_TABLE_ROW_H
#define CLI_RENDER_TABLE_ROW_H

#include "cli/render/table.h"
#include "measure/trials.h"
#include "spec/cell.h"
#include "spec/verdict.h"

#define TABLE_CELL_BYTES 160

struct table_row {
    char framework[CELL_WORD_BYTES];
    char model[MODEL_NAME_BYTES];
    char mode[CELL_WORD_BYTES];
    char precision[CELL_WORD_BYTES];
    size_t place;
    uint64_t seq_len, batch_size, trial;
    double tokens, window_ms; /* of all measured steps; NaN = unknown */
    enum verdict verdict;
    bool is_synthetic;
    double ms_p50, ms_low, ms_high, tokens_per_second, peak_mib, loss; /* NaN = unknown */
    struct trials trials; /* over this one and those before; count 0 = this one alone */
    char *reasons;        /* owned; "" = none */
    char *warnings;       /* the same */
    char *tokens_data;    /* owned; "" = unknown */
    char *chosen;         /* owned: what the worker had to choose for the model; "" = nothing */
    char verdicts[TABLE_CELL_BYTES]; /* of a cell's trials: "2 of 3 valid, 1 oom" */
};

/* A row a cell, in the plan's order; sorts the table's own rows so, too. Without memory there are
 * none, and every trial has its line. Only the rows' list is the caller's to free. */
void table_merge_trials(const struct table *table, struct table *ret_by_cell);
/* Names the cells where one trial's own interval is not the whole truth. */
void table_append_wider(const struct table *table, const struct table *by_cell, struct buf *out);

#endif
