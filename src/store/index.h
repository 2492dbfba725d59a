/* store/index.h - which measurements a folder already has: (cell, policy, trial, environment), and
 * the median of each. */
#ifndef STORE_INDEX_H
#define STORE_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

/* A record's median step with its own interval, ms; NaN = not known. */
struct store_median {
    double ms, ms_low, ms_high;
};

struct index_entry {
    char *key; /* owned; NULL is a free slot */
    struct store_median median;
};

struct store_index {
    struct index_entry *slots; /* owned */
    size_t slots_count;
    size_t keys_count;
};

void index_release(struct store_index *index);
/* Adding a key that is there is fine: the newer median counts. */
MUST_CHECK enum status index_add(struct store_index *index, const char *cell_id,
                                 const char *policy_id, uint64_t trial, const char *environment_id,
                                 const struct store_median *median, struct err *err);
/* The entry's median, borrowed until the next index_add(); NULL when there is no such entry. */
const struct store_median *index_find(const struct store_index *index, const char *cell_id,
                                      const char *policy_id, uint64_t trial,
                                      const char *environment_id);

#endif
