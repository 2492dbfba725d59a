/* hud/tail.h - reads a results folder, file or events into a board, as they grow: in slices, so
 * that a large file does not hold the screen up, and told by the kernel when there is more.
 *
 * A file that is replaced, emptied or cut is read anew (result/line_source.h); a half line waits.
 */
#ifndef HUD_TAIL_H
#define HUD_TAIL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"
#include "hud/board.h"

struct tail; /* opaque */

/* `path`: as reader_open() takes it. `follows`: goes on when there is more, and waits for a folder
 * that is not there; an archive does not grow. */
MUST_CHECK enum status tail_open(const char *path, bool follows, struct tail **ret_tail,
                                 struct err *err);
void tail_close(struct tail *tail);
/* Readable when a file may have changed; -1 = ask now and then. */
int tail_fd(const struct tail *tail);
/* There is nothing at that path yet. */
bool tail_is_waiting(const struct tail *tail);
/* Reads for at most about `slice_ns`. *ret_is_more: there was no time for all of it. */
MUST_CHECK enum status tail_read(struct tail *tail, struct board *board, uint64_t slice_ns,
                                 bool *ret_is_more, struct err *err);
/* Of the records' file, 0 to 1; 1 for what has no end. */
double tail_share(const struct tail *tail);
/* When the file of records was written last, since 1970; 0 = it is not there. */
uint64_t tail_newest_ns(const struct tail *tail);

#endif
