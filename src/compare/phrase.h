/* compare/phrase.h - words and numbers that the forms for people share. */
#ifndef COMPARE_PHRASE_H
#define COMPARE_PHRASE_H

#include "base/buf.h"
#include "compare/comparison.h"
#include "compare/format.h"

/* What cells are called apart by: a part that all cells share stands once, in `shared`. */
struct phrase_names {
    bool is_shown[ROW_NAMES_COUNT];
    char shared[COMPARE_WHY_BYTES]; /* "native superintelligence-tiny cpu" */
    size_t width;                   /* of the longest name, in columns */
};

/* Looks at all rows. */
void phrase_names(const struct comparison *comparison, struct phrase_names *ret_names);
/* "train fp32 seq 128 batch 4": the parts that differ, on one line and printable. NULL: all. */
void phrase_append_name(const struct row *row, const struct phrase_names *names, struct buf *out);
/* Text from records: control characters become spaces, and it is cut. */
void phrase_append_text(const char *text, size_t bytes_max, struct buf *out);

/* Four digits, or all of a counted one: "426.3", "1,693". */
void phrase_append_value(const struct metric *metric, double value, struct buf *out);
/* Half of the side's 95 % interval in %: NaN where there is none. */
double phrase_half_width(const struct change_side *side);
/* "+3.2 %"; of a counted or missing one nothing. */
void phrase_append_percent(const struct row_metric *result, struct buf *out);
/* Its interval: "+2.1 to +4.4 %"; nothing where there is none. */
void phrase_append_interval(const struct row_metric *result, struct buf *out);
/* "p 0.000, n 24+30", "p 0.012, 3+3 runs". */
void phrase_append_evidence(const struct row *row, const struct row_metric *result,
                            struct buf *out);
/* "1 worse, 2 better, 36 the same". */
void phrase_append_counts(const struct compare_summary *summary, struct buf *out);
/* "failed: ...". */
void phrase_append_gate(const struct compare_output *output, struct buf *out);

/* A sentence on what to know of the comparison: settings that differ, lines that are no records ...
 */
typedef void phrase_visit(void *context, const char *sentence);
void phrase_notices(const struct comparison *comparison, phrase_visit *visit, void *context);

#endif
