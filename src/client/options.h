/* client/options.h - how workers are started, waited for and ended. */
#ifndef CLIENT_OPTIONS_H
#define CLIENT_OPTIONS_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "client/events.h"

struct fork_pool;

/* Between SIGTERM and SIGKILL, unless somebody knows better. */
#define CLIENT_KILL_GRACE_NS (2 * NS_PER_S)

/* All pointers are borrowed: for the life of the clients that are given these. */
struct client_options {
    const char *launch_prefix;   /* words put before the worker's command; NULL = none. Split as a
                                  * shell splits words, run without a shell. */
    const char *self_path;       /* this program, for `worker ENGINE` */
    const char *python;          /* for engines in Python: the interpreter; NULL = they choose */
    const char *work_dir;        /* the worker's folder; NULL = ours */
    struct fork_pool *fork_pool; /* workers are forked by its servers; NULL = each is started by
                                    itself (client/fork_pool.h) */
    uint64_t phase_timeout_ns;   /* start, open, one block, close: each at most this */
    uint64_t kill_grace_ns;      /* between SIGTERM and SIGKILL */
    uint64_t memory_limit_bytes; /* the worker is ended over this RSS; 0 = what is available less a
                                    reserve */
    const volatile sig_atomic_t *interrupt; /* 1 after SIGINT: end the block, keep what is complete;
                                               more: end at once */
    int wake_fd;                         /* readable when a signal came, emptied here; -1 = none */
    const struct event_listener *events; /* NULL = none */
};

/* Has a SIGINT come? */
bool client_is_interrupted(const struct client_options *options);
/* Empties the wake descriptor, so that the next wait is a wait. */
void client_drain_wake(const struct client_options *options);

#endif
