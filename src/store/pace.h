/* store/pace.h - pace.jsonl in the user's data folder: the fastest clock that a machine has shown,
 * as the time of fixed work (telemetry/pace.h, docs/metrics.md), so that a run on it can tell when
 * it is slower. A line for each time that it was faster than before; the least of a machine's lines
 * counts.
 */
#ifndef STORE_PACE_H
#define STORE_PACE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/hash.h"
#include "base/status.h"

#define PACE_NAME "pace.jsonl"

/* The best known of that machine, ns; 0 where there is none, no file, or no folder. Lines that are
 * no entry, or one that cannot be, are skipped. */
MUST_CHECK enum status pace_read(const char *path, const char machine_id[HASH_ID_BYTES],
                                 uint64_t *ret_best_ns, struct err *err);
/* Takes `seen_ns` (0 = not measured) where it is less. True when it is worth storing: the first, or
 * better by 1 %. */
bool pace_improve(uint64_t *best_ns, uint64_t seen_ns);
/* Appends to DIR/pace.jsonl, which is made; waits a little for another writer. */
MUST_CHECK enum status pace_append(const char *dir, const char machine_id[HASH_ID_BYTES],
                                   uint64_t best_ns, struct err *err);

#endif
