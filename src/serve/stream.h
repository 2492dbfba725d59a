/* serve/stream.h - server-sent events: what a page is told, and goes on to be told.
 *
 *   reset  forget everything; what a row's places mean
 *   rows   rows of cells, newest first: all that there are, or those that have changed
 *   row    a record, as it came; `id` is the place in the results behind it
 *   state  counts, and how far the file is read; `id` too
 *   live   a line of the run's own events (serve/live.h); `live-reset`: forget those before
 *
 * A client that comes back with the last id (browsers do by themselves) is told what has come
 * since, and nothing twice; if that is too long ago, as `rows`. A client that is too slow holds
 * nobody up.
 */
#ifndef SERVE_STREAM_H
#define SERVE_STREAM_H

#include <stdbool.h>

#include "serve/feed.h"
#include "serve/live.h"
#include "serve/mhd.h"

struct streams; /* opaque: all that are open */

/* `name`: of the folder, for people. All are borrowed for the streams' life. */
MUST_CHECK enum status streams_new(const struct mhd *mhd, struct feed *feed, struct live *live,
                                   const char *name, struct streams **ret_streams, struct err *err);
/* After the daemon has stopped. */
void streams_free(struct streams *streams);

/* The response of a new stream; NULL when memory ends. `last_id`: of Last-Event-ID; may be NULL. */
struct MHD_Response *streams_add(struct streams *streams, struct MHD_Connection *connection,
                                 const char *last_id);
/* Lets streams go on that have something to tell: now and then, and whenever the feed has changed.
 */
void streams_wake(struct streams *streams, bool has_changed);
/* Ends all of them: before the daemon is stopped. */
void streams_end(struct streams *streams);

#endif
