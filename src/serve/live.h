/* serve/live.h - what a run tells of itself while it works (DIR/events.jsonl, docs/events.md): the
 * lines that somebody who comes now needs to know where it stands.
 *
 * These are the plan, and of the cell that is measured its phases, last blocks and memory. Lines
 * are handed on as they are; only `event` and `run_id` are looked at. A folder without the file is
 * as good.
 */
#ifndef SERVE_LIVE_H
#define SERVE_LIVE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/status.h"

#define LIVE_BYTES_MAX  ((size_t)8 << 20)
#define LIVE_BLOCKS_MAX ((size_t)300)

struct live; /* opaque */

MUST_CHECK enum status live_new(const char *dir, struct live **ret_live, struct err *err);
void live_free(struct live *live);
/* Reads on; by one thread. What cannot be read is as if it were not there. STATUS_NOMEM. */
MUST_CHECK enum status live_read(struct live *live, struct err *err);
/* The number of the last line that came; 0 = none. */
uint64_t live_newest(struct live *live);
/* Appends the kept lines behind number `after` as events of a stream, and returns the newest's
 * number. */
uint64_t live_append(struct live *live, uint64_t after, struct buf *out);

#endif
