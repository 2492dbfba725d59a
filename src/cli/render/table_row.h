/* cli/render/table_row.h - a line of the table, as table.c makes it of a record; what the trials of
 * a cell come to; and numbers as texts.
 */
#ifndef CLI_RENDER_TABLE_ROW_H
#define CLI_RENDER_TABLE_ROW_H

#include "cli/render/table.h"
#include "measure/trials.h"
#include "spec/cell.h"
#include "spec/verdict.h"

#define TABLE_NUMBER_BYTES 64

struct table_row {
    char mode[CELL_WORD_BYTES];
    char precision[CELL_WORD_BYTES];
    char parallel[CELL_WORD_BYTES];
    size_t place;
    uint64_t seq_len, batch_size, trial;
    double tokens, window_ms; /* of all measured steps; NaN = unknown */
    enum verdict verdict;
    bool is_synthetic;
    bool is_first_run; /* the interval rests on this run alone */
    /* NaN = unknown; low and high are of another run's median, or of the trials */
    double ms_p50, ms_low, ms_high, tokens_per_second, peak_mib, loss;
    double own_low, own_high;         /* of the median within this trial */
    struct trials trials;             /* over this one and those before; count 0 = this one alone */
    size_t trials_count, valid_count; /* of a cell's line: its trials, valid or not */
    double params;                    /* NaN = unknown */
    /* Owned texts; "" = nothing to say. `what`: engine, device and model; `chosen`: what the worker
     * had to choose for the model. */
    char *what, *tokens_data, *machine, *reasons, *warnings, *chosen;
};

/* In the order of the plan, trials of a cell one after the other. */
void table_sort(struct table *table);
/* A row a cell. Without memory there are none, and every trial has its line. Only the rows' list is
 * the caller's to free; the table is sorted. */
void table_merge_trials(const struct table *table, struct table *ret_by_cell);
/* Names the cells where one trial's own interval is not the whole truth. */
void table_append_wider(const struct table *table, const struct table *by_cell, size_t columns,
                        struct buf *out);
/* "train fp32 seq 128 batch 4". */
void table_append_name(const struct table_row *row, struct buf *out);

/* Four significant digits, "1,234,567", or "-" for what is not finite. */
void table_format_number(double value, char text[TABLE_NUMBER_BYTES]);
/* The ends in per cent of the value: "-0.8/+2.1 %", "-5/+91 %", "+-1.2 %"; "-" where one is not
 * known. */
void table_format_interval(double value, double low, double high, char text[TABLE_NUMBER_BYTES]);

#endif
