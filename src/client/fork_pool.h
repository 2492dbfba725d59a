/* client/fork_pool.h - workers forked from a process that has their framework imported already.
 *
 * Importing a framework takes seconds, and every cell has a worker of its own. A server, which is
 * `SELF worker ENGINE --serve`, imports it once, touches no device, and forks a worker whenever it
 * is asked (docs/protocol.md, "Forked workers"). The worker becomes our child: it is waited for,
 * watched and ended as one that we started, leads a group of its own, and does not depend on the
 * server afterwards.
 *
 * What processes of one program differ in by chance (the layout of the address space, the seed of
 * Python's hashes) is the same in all workers of one server. fork_pool_renew() between the trials
 * of a sweep, or the starts of a comparison, lets it vary there as between runs.
 */
#ifndef CLIENT_FORK_POOL_H
#define CLIENT_FORK_POOL_H

#include "base/spawn.h"
#include "base/status.h"
#include "base/words.h"
#include "client/options.h"

/* The servers of a call, by the command and folder of their workers. */
struct fork_pool;

/* NULL = no memory. */
struct fork_pool *fork_pool_new(void);
void fork_pool_free(struct fork_pool *pool);
/* Workers to come are of new servers. NULL is none, and fine. */
void fork_pool_renew(struct fork_pool *pool);

/* Starts the server of such workers, and does not wait for it. What fails shows when the first of
 * them is started. */
void fork_pool_prepare(struct fork_pool *pool, const struct words *command,
                       const struct client_options *options);
/* Has the worker that `command` would start forked, its standard error in log_fd. It waits for a
 * server that still imports (what training needs, too, for one that trains), with the listener's
 * ticks. STATUS_INTERRUPTED after a signal; STATUS_TIMEOUT when importing takes longer than a phase
 * may; anything else: there is no such server, nor will there be, and the worker is to be started
 * by itself. */
MUST_CHECK enum status fork_pool_start(struct fork_pool *pool, const struct words *command,
                                       bool is_training, const struct client_options *options,
                                       int log_fd, struct spawn *ret_spawn, struct err *err);

/* Why a server failed; NULL = none has. Borrowed from the pool. */
const char *fork_pool_failure(const struct fork_pool *pool);

#endif
