/* store/history.h - history.jsonl in the user's data folder: what each measurement of a cell came
 * to, so that a later one can tell whether it agrees (measure/history.h, docs/metrics.md). A line a
 * measurement. The file may be removed at any time.
 */
#ifndef STORE_HISTORY_H
#define STORE_HISTORY_H

#include <stddef.h>

#include "base/hash.h"
#include "base/status.h"
#include "result/record.h"
#include "store/store.h"

#define HISTORY_NAME "history.jsonl"

struct history_run {
    char id[HASH_ID_BYTES]; /* the record's history_id: equal for runs of the same thing */
    struct store_median median;
};

struct history_book {
    struct history_run *runs; /* owned; oldest first */
    size_t count, capacity;
};

/* All runs of the file; none where there is no file, or no folder. Lines that are no run, or one
 * that cannot be, are skipped. */
MUST_CHECK enum status history_book_read(const char *path, struct history_book *ret_book,
                                         struct err *err);
void history_book_release(struct history_book *book);
/* The newest medians of runs with that id, at most `medians_max`, oldest first; how many. */
size_t history_book_find(const struct history_book *book, const char *id, size_t medians_max,
                         struct store_median *ret_medians);

/* The run of a record that has a history_id and a sound median (store_median_of()); false for
 * others. */
bool history_run_of(const struct record *record, struct history_run *ret_run);
/* To the end of the book. */
MUST_CHECK enum status history_book_add(struct history_book *book, const struct history_run *run,
                                        struct err *err);
/* Appends the run of such a record to DIR/history.jsonl, which is made; waits a little for another
 * writer. */
MUST_CHECK enum status history_append(const char *dir, const struct record *record,
                                      struct err *err);

#endif
