/* store/index.h - which measurements a folder already has: a set of (cell, policy, trial,
 * environment). */
#ifndef STORE_INDEX_H
#define STORE_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

struct store_index {
    char **slots; /* owned: table and keys; NULL is a free slot */
    size_t slots_count;
    size_t keys_count;
};

void index_release(struct store_index *index);
/* Adding a key that is there is fine. */
MUST_CHECK enum status index_add(struct store_index *index, const char *cell_id,
                                 const char *policy_id, uint64_t trial, const char *environment_id,
                                 struct err *err);
bool index_has(const struct store_index *index, const char *cell_id, const char *policy_id,
               uint64_t trial, const char *environment_id);

#endif
