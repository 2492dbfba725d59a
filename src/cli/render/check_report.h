/* cli/render/check_report.h - the result of one engine in one precision, as a line of checks.jsonl
 * and as rows of the table. */
#ifndef CLI_RENDER_CHECK_REPORT_H
#define CLI_RENDER_CHECK_REPORT_H

#include "base/buf.h"
#include "base/grid.h"
#include "cli/check_setup.h"
#include "drive/check.h"
#include "drive/check_output.h"

#define CHECK_REPORT_BYTES_MAX (1 << 20)

struct check_row {
    const struct check_side *side;      /* borrowed: from the setup */
    const struct check_side *reference; /* borrowed; NULL: this row is a reference itself */
    enum cell_precision precision;
    struct worker_run run;
    bool has_weights; /* the output also has the weights in use */
    bool is_compared;
    struct check_comparison comparison;
    enum verdict verdict; /* the run's; `invalid` for one over tolerance */
    struct reasons reasons;
};

/* What all lines of a call say alike. Borrowed: for the call. */
struct check_facts {
    const struct check_setup *setup;
    const char *run_id;
    const char *environment_id;
    const char *command_json;
};

/* One line with its '\n' (docs/records.md). */
void check_report_line(const struct check_facts *facts, const struct check_row *row,
                       struct buf *out);
/* The table of all rows, and below it what is over tolerance and what went wrong. */
/* `width`: of the screen; 0 = no limit. */
void check_report_table(const struct check_row *rows, size_t rows_count,
                        const struct grid_style *style, struct buf *out);

#endif
