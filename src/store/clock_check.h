/* store/clock_check.h - pace.jsonl in the user's data folder: the best clock check of each machine
 * (telemetry/clock_check.h, docs/metrics.md, "Clock check"), so that a run can tell when the
 * machine's clock is slower. A line for each new best; the shortest time of a machine counts.
 */
#ifndef STORE_CLOCK_CHECK_H
#define STORE_CLOCK_CHECK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/hash.h"
#include "base/status.h"

#define CLOCK_CHECK_NAME "pace.jsonl"

/* The best known of that machine, ns; 0 where there is none, no file, or no folder. Lines that are
 * no entry, or one that cannot be, are skipped. */
MUST_CHECK enum status clock_check_read(const char *path, const char machine_id[HASH_ID_BYTES],
                                        uint64_t *ret_best_ns, struct err *err);
/* Takes `seen_ns` (0 = not measured) where it is less. True when it is worth storing: the first, or
 * better by 1 %. */
bool clock_check_improve(uint64_t *best_ns, uint64_t seen_ns);
/* Appends to DIR/pace.jsonl, which is made; waits a little for another writer. */
MUST_CHECK enum status clock_check_append(const char *dir, const char machine_id[HASH_ID_BYTES],
                                          uint64_t best_ns, struct err *err);

#endif
