/* compare/comparison.h - two sets of results, cell by cell: what has changed, and is it certain?
 * docs/compare.md has the rules.
 *
 * Both sets are read as streams; what is kept of a cell is small (tally.h), so millions fit.
 */
#ifndef COMPARE_COMPARISON_H
#define COMPARE_COMPARISON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "compare/metric.h"
#include "measure/change.h"
#include "result/visit.h"

/* X(name, word, sign, plain): what is said of a metric and of a cell, of whose metrics the first of
 * these counts. Words and signs for people, `plain` for programs. */
#define COMPARE_VERDICT_MAP(X)                                 \
    X(WORSE, "WORSE", "▲", "worse")                            \
    X(NOT_COMPARABLE, "NOT COMPARABLE", "!", "not_comparable") \
    X(MISSING, "MISSING", "-", "missing")                      \
    X(UNDECIDED, "UNDECIDED", "?", "undecided")                \
    X(BETTER, "BETTER", "▼", "better")                         \
    X(SAME, "SAME", "~", "same")                               \
    X(NEW, "NEW", "+", "new")

enum compare_verdict {
#define X(name, word, sign, plain) COMPARE_##name,
    COMPARE_VERDICT_MAP(X)
#undef X
        COMPARE_VERDICTS_COUNT
};

const char *compare_verdict_word(enum compare_verdict verdict);
const char *compare_verdict_sign(enum compare_verdict verdict);
const char *compare_verdict_plain(enum compare_verdict verdict);

enum compare_side { COMPARE_BASE, COMPARE_NOW, COMPARE_SIDES_COUNT };

struct comparison_options {
    struct metrics metrics;
    const enum fact_id *by; /* borrowed for the comparison's life; NULL = cells.h's own way */
    size_t by_count;
    bool takes_newest_run;
    bool includes_sandbox;
};

#define COMPARE_WHY_BYTES 256

struct row_metric {
    const struct metric *metric; /* borrowed from the comparison */
    enum compare_verdict verdict;
    char why[COMPARE_WHY_BYTES]; /* where the verdict needs one, for people; else "" */
    bool is_known[COMPARE_SIDES_COUNT];
    double value[COMPARE_SIDES_COUNT];
    struct change_side sides[COMPARE_SIDES_COUNT];
    struct change change; /* known where both sides are, and there is an interval */
};

struct tally;

/* In the order of context_name_fields (context.h). */
enum row_name { ROW_ENGINE, ROW_MODEL, ROW_DEVICE, ROW_MODE, ROW_PRECISION, ROW_NAMES_COUNT };

struct row {
    const char *names[ROW_NAMES_COUNT]; /* borrowed; "" where not known */
    uint32_t seq_len, batch_size;
    enum compare_verdict verdict;
    char why[COMPARE_WHY_BYTES];
    const struct tally *sides[COMPARE_SIDES_COUNT]; /* borrowed; NULL: it has no record */
    struct row_metric metrics[METRICS_MAX];         /* those that are compared */
    size_t metrics_count;
};

/* What differs between the sides' settings and environments. */
#define COMPARE_DIFFERENCES_MAX   48
#define COMPARE_DIFFERENCE_BYTES  160
#define COMPARE_DIFFERENCE_SPREAD 5 /* so many values of one name, then no more are shown */

struct compare_difference {
    char name[COMPARE_DIFFERENCE_BYTES];
    char base[COMPARE_DIFFERENCE_BYTES], now[COMPARE_DIFFERENCE_BYTES];
};

struct compare_summary {
    const char *names[COMPARE_SIDES_COUNT]; /* as given. Borrowed */
    uint64_t records[COMPARE_SIDES_COUNT];
    struct visit_notes notes[COMPARE_SIDES_COUNT];
    uint64_t cells[COMPARE_VERDICTS_COUNT];
    uint64_t cells_count;                                    /* all of them */
    uint64_t by_metric[METRICS_MAX][COMPARE_VERDICTS_COUNT]; /* of the metrics compared */
    uint64_t metrics_count;                                  /* compared on both sides */
    uint64_t tests_count;                                    /* with a p value: Holm's family */
    uint64_t sandbox_count;                                  /* cells left out as made up */
    uint64_t unsteady_count; /* cells with such a record that counts */
    uint64_t warned_count;
    uint64_t assumed_count; /* cells whose noise between runs is assumed */
    double p_limit;         /* the largest significant p; negative: none is */
    struct compare_difference differences[COMPARE_DIFFERENCES_MAX];
    size_t differences_count;
    bool has_more_differences;
};

struct comparison; /* opaque */

MUST_CHECK enum status comparison_new(const struct comparison_options *options,
                                      struct comparison **ret_comparison, struct err *err);
void comparison_free(struct comparison *comparison);
/* All of `source`: what a reader opens, or "-". `name` is how it is called; borrowed for the
 * comparison's life. The base first. */
MUST_CHECK enum status comparison_read(struct comparison *comparison, enum compare_side side,
                                       const char *source, const char *name, struct err *err);
/* Once both are read: matches what is left over by shape, and decides. */
MUST_CHECK enum status comparison_decide(struct comparison *comparison, struct err *err);

/* After that. Borrowed. */
const struct compare_summary *comparison_summary(const struct comparison *comparison);
const struct metrics *comparison_metrics(const struct comparison *comparison);
/* Rows by number, up to the count; false: that number has none. */
size_t comparison_rows_count(const struct comparison *comparison);
bool comparison_row(const struct comparison *comparison, size_t index, struct row *ret_row);
/* The same without judging: only sides, names and shape are set. */
bool comparison_name(const struct comparison *comparison, size_t index, struct row *ret_row);

/* Does the gate let it pass? FAILED: a cell is WORSE. UNDECIDED: none is, but a cell is MISSING,
 * NOT COMPARABLE or (unless `is_lenient`) UNDECIDED, or nothing was compared at all. */
enum compare_gate { COMPARE_GATE_PASSED, COMPARE_GATE_FAILED, COMPARE_GATE_UNDECIDED };
enum compare_gate comparison_gate(const struct comparison *comparison, bool is_lenient);

#endif
