/* result/seen.h - which records a registry has: a set of their keys as hashes of 128 bits, 16
 * bytes each at a load of a half or less. */
#ifndef RESULT_SEEN_H
#define RESULT_SEEN_H

#include <stdbool.h>
#include <stddef.h>

#include "base/hash.h"
#include "base/status.h"

struct seen; /* opaque */

MUST_CHECK enum status seen_new(struct seen **ret_seen, struct err *err);
void seen_free(struct seen *seen);
/* *ret_is_new: it was not there before. */
MUST_CHECK enum status seen_add(struct seen *seen, struct hash_wide key, bool *ret_is_new,
                                struct err *err);

#endif
