/* cli/ab_bench.h - what the comparisons of one call share: environment, interpreters, revisions,
 * signals, the folder of results; and one comparison from its cells to its stored line. */
#ifndef CLI_AB_BENCH_H
#define CLI_AB_BENCH_H

#include "cli/context.h"
#include "cli/render/ab_progress.h"
#include "cli/render/ab_report.h"
#include "cli/render/forms.h"
#include "store/journal.h"

/* Pointers are borrowed: for the call. */
struct ab_bench {
    const struct invocation *call;
    struct ab_setup *setup;
    const char *purpose;                 /* "ab", "noise" */
    struct context context;              /* its environment is that of side A */
    struct buf interpreters[PAIR_SIDES]; /* JSON; empty = no engine in Python */
    char pythons[PAIR_SIDES][FILE_PATH_BYTES];
    bool is_open;
    struct journal journal;
    struct client_options clients[PAIR_SIDES];
    struct event_listener events;
    struct ab_progress progress;
    struct form_writer *writer; /* takes every stored line; NULL = none */
    size_t compared_count;      /* comparisons begun */
};

/* `comparisons_total`: for progress. ab_bench_close() in any case. */
MUST_CHECK enum status ab_bench_open(struct ab_bench *bench, const struct invocation *call,
                                     struct ab_setup *setup, const char *purpose,
                                     size_t comparisons_total, struct err *err);
/* Also removes checked-out revisions; what cannot be is told. */
void ab_bench_close(struct ab_bench *bench);

/* Compares pair `pair` of the setup by row->threshold_percent and row->floor, which the caller has
 * set, and appends the line. */
MUST_CHECK enum status ab_bench_compare(struct ab_bench *bench, size_t pair, struct ab_row *row,
                                        struct err *err);

/* A line on stderr that is no error; --quiet leaves it out. */
void ab_bench_note(struct ab_bench *bench, const char *format, ...) PRINTF_LIKE(2, 3);
/* The exit code of a call that ended with `status`, after telling why. */
enum exit_code ab_bench_fail(struct ab_bench *bench, enum status status, const struct err *err);

#endif
