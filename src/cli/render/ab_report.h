/* cli/render/ab_report.h - the result of a comparison: as a line of ab_results.jsonl and as rows of
 * the table (docs/ab.md). */
#ifndef CLI_RENDER_AB_REPORT_H
#define CLI_RENDER_AB_REPORT_H

#include "base/buf.h"
#include "base/grid.h"
#include "cli/ab_setup.h"
#include "drive/pair.h"

#define AB_REPORT_BYTES_MAX (1 << 20)

/* How far this machine's own noise may bring two equal sides apart. */
struct ab_floor {
    bool is_known;
    double percent;
    char reason[REASON_TEXT_BYTES]; /* why it is not known */
};

/* What all lines of a call say alike. Borrowed: for the call. */
struct ab_facts {
    const struct ab_setup *setup;
    const char *purpose; /* "ab", "noise" */
    const char *run_id;
    const char *environment_id; /* of side A */
    const char *environment_json;
    const char *command_json;
    const char *interpreter_json[PAIR_SIDES]; /* NULL = no engine in Python */
    const struct client_options *clients[PAIR_SIDES];
};

struct ab_row {
    size_t pair;                          /* which of the setup's */
    const struct cell *cells[PAIR_SIDES]; /* borrowed: from the setup */
    struct ab_floor floor;
    double threshold_percent;
    struct pair_result result;
    char samples_name[64]; /* in DIR/samples */
};

/* "infer fp32 seq 128 batch 4", or both sides' where they differ. */
void ab_report_describe(const struct ab_row *row, struct buf *out);
/* "SLOWER, +3.1 % [+2.8, +3.4]" */
void ab_report_outcome(const struct ab_row *row, struct buf *out);
/* One line with its '\n'. */
void ab_report_line(const struct ab_facts *facts, const struct ab_row *row, struct buf *out);
/* The table, and a sentence or more on each comparison below it. */
void ab_report_table(const struct ab_row *rows, size_t rows_count, const struct grid_style *style,
                     struct buf *out);

#endif
