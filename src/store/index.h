/* store/index.h - which measurements a folder already has: (cell, policy, trial, environment), and
 * the median of each. */
#ifndef STORE_INDEX_H
#define STORE_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "result/record.h"

/* A record's median step with its own interval, ms; NaN = not known. */
struct store_median {
    double ms, ms_low, ms_high;
};

struct index_entry {
    char *key; /* owned; NULL is a free slot */
    struct store_median median;
    bool is_unsteady; /* the record's verdict */
};

struct store_index {
    struct index_entry *slots; /* owned */
    size_t slots_count;
    size_t keys_count;
};

void index_release(struct store_index *index);
/* Is it finished: verdict_is_finished(), and not by what may pass? */
bool index_is_finished(const struct record *record);
/* Adds a record if it is finished. */
MUST_CHECK enum status index_add_record(struct store_index *index, const struct record *record,
                                        struct err *err);
/* Those of a results folder that nobody opens for it: read only, and none where there is no folder.
 * `is_any_environment`: they are found under the environment "". */
MUST_CHECK enum status index_read(const char *dir, bool is_any_environment,
                                  struct store_index *ret_index, struct err *err);
/* Borrowed until something is added; NULL when there is no such entry. */
const struct index_entry *index_find(const struct store_index *index, const char *cell_id,
                                     const char *policy_id, uint64_t trial,
                                     const char *environment_id);

#endif
