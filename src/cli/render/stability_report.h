/* cli/render/stability_report.h - the course of one training: as a line of stability.jsonl, as rows
 * of stability.csv, and as a row of the table. */
#ifndef CLI_RENDER_STABILITY_REPORT_H
#define CLI_RENDER_STABILITY_REPORT_H

#include "base/buf.h"
#include "base/grid.h"
#include "cli/check_setup.h"
#include "drive/training.h"
#include "measure/curve.h"

#define STABILITY_LINE_BYTES_MAX (1 << 20)
#define STABILITY_TEXT_BYTES_MAX (64 << 20)

struct stability_row {
    const struct check_side *side; /* borrowed: from the setup */
    struct cell cell;              /* with the row's precision */
    struct training training;      /* owned */
    bool has_reference;
    char reference[CELL_PATH_BYTES + 64]; /* "native fp32", or "native fp32 of RUN" */
    struct curve_difference difference;
    double tolerance;     /* at that difference's step; NaN without a reference */
    double rounding;      /* what it alone had made of the reference by then; NaN = not looked at */
    enum verdict verdict; /* the training's; `invalid` for one over tolerance */
    struct reasons reasons;
};

/* What all lines of a call say alike; borrowed. */
struct stability_facts {
    const char *run_id;
    const char *environment_id;
    const char *command_json;
    const char *data_name;
    uint32_t steps_count;
};

/* One line with its '\n' (docs/records.md). */
void stability_report_line(const struct stability_facts *facts, const struct stability_row *row,
                           struct buf *out);
/* run_id,engine,precision,step,loss,grad_norm: a row a step; the head with `row` NULL. */
void stability_report_csv(const struct stability_facts *facts, const struct stability_row *row,
                          struct buf *out);
/* The table of all rows, and below it what is not well. `width`: of the screen; 0 = no limit. */
void stability_report_table(const struct stability_row *rows, size_t rows_count,
                            const struct grid_style *style, struct buf *out);

#endif
