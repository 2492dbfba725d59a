/* report/changes.h - what has changed: each further set of results against the first one, as
 * `compare` says it, and cells against this machine's earlier runs of them. */
#ifndef REPORT_CHANGES_H
#define REPORT_CHANGES_H

#include "compare/comparison.h"
#include "report/model.h"

#define CHANGES_ROWS_MAX    300
#define CHANGES_NOTICES_MAX 12
#define CHANGES_EARLIER_MAX 100

/* A metric of a cell that is not SAME. Texts are borrowed from the report; "" = none. */
struct changes_row {
    enum compare_verdict verdict;
    const char *cell, *metric, *base, *now, *change, *interval, *why;
};

/* One set against the first. Texts are borrowed, as above; the rows owned. */
struct changes_set {
    uint32_t source;
    uint64_t counts[COMPARE_VERDICTS_COUNT]; /* of cells */
    const char *summary;                     /* "1 worse, 36 the same" */
    struct changes_row *rows;                /* WORSE first */
    size_t rows_count, left_out;
    const char *notices[CHANGES_NOTICES_MAX];
    size_t notices_count;
};

struct report_changes {
    struct changes_set sets[REPORT_SOURCES_MAX];
    size_t sets_count;
    /* Cells that this machine has run before, those that are furthest away first. Borrowed from the
     * report. */
    const struct report_cell *earlier[CHANGES_EARLIER_MAX];
    size_t earlier_count, earlier_left_out;
};

/* Reads the sets once more. `changes` is zeroed. */
MUST_CHECK enum status changes_make(struct report *report, struct report_changes *changes,
                                    struct err *err);
void changes_release(struct report_changes *changes);
/* The time of a cell over that of earlier runs, in %. */
double changes_percent(const struct report_cell *cell);

#endif
