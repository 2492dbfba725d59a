/* client/ladder.h - how long a worker's end is waited for, and how it is brought about: SIGTERM,
 * the grace, SIGKILL. Signals to the harness shorten every wait, also those that come during it:
 * after the first it is the grace at most, after a second there is none.
 */
#ifndef CLIENT_LADDER_H
#define CLIENT_LADDER_H

#include "base/spawn.h"
#include "client/options.h"

/* Has a second signal come? Then nobody is waited for. */
bool ladder_is_urgent(const struct client_options *options);
/* Waits for the worker's own end, and collects it; false when it still lives and its time is over.
 */
bool ladder_wait(struct spawn *spawn, const struct client_options *options, uint64_t deadline_ns);
/* Down the ladder; the process is collected. No-op when it was before. */
void ladder_end(struct spawn *spawn, const struct client_options *options);

#endif
