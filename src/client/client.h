/* client/client.h - one worker, driven: the only way to run anything in one. It starts the process,
 * greets it, opens the cell, runs blocks, asks for memory or a check and takes it down, with a
 * deadline for each; and it judges what came back: another version, another block than the one
 * asked for end the session; what makes results wrong (another model, another precision, numbers
 * that are not finite, recompiles, an impossible clock) is kept as a fault, for the caller's
 * verdict.
 *
 * What goes wrong with a worker is a verdict in client->session, never an error of the harness.
 */
#ifndef CLIENT_CLIENT_H
#define CLIENT_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"
#include "client/options.h"
#include "client/session.h"
#include "proto/message.h"
#include "spec/cell.h"
#include "spec/verdict.h"

struct client {
    const struct cell *cell;              /* borrowed: for the client's life, as is the next */
    const struct client_options *options; /* borrowed */
    struct session session;
    bool has_hello, has_ready;
    struct proto_worker_hello hello; /* all zero without one */
    struct proto_ready ready;        /* owned; all zero without one */
    uint64_t start_ns;               /* starting the process, to its hello; by the host's clock */
    uint64_t hello_rss_bytes;  /* of the worker at its hello: framework, no model; 0 = not known */
    uint64_t open_ns;          /* the same of opening the cell */
    uint64_t nonfinite_count;  /* losses and norms that were not finite, warm-up's included */
    uint64_t recompiles_count; /* in measured blocks */
    uint64_t impossible_window_ns; /* longer than the host saw pass, the last one; 0 = none */
    uint64_t window_max_ns;        /* what it could be at most */
};

void client_init(struct client *client, const struct cell *cell,
                 const struct client_options *options);
void client_release(struct client *client);

/* May the next request be sent? */
bool client_can_go_on(const struct client *client);
/* Its numbers are made up, by its own word. */
bool client_is_synthetic(const struct client *client);
/* Is the worker itself a process of this host that can be watched: not behind a launcher to
 * elsewhere, and not made up? */
bool client_is_here(const struct client *client);

/* Where workers are forked: what they import may begin to be, while the caller does other things.
 * Whatever fails shows when a worker is started. */
void client_prepare(const struct client_options *options, const char *engine);
/* Starts the process and greets it. STATUS other than OK: the log cannot be written, or the command
 * cannot be split. */
MUST_CHECK enum status client_start(struct client *client, const char *log_path,
                                    const char *log_title, struct err *err);
/* Has the cell opened. */
void client_open(struct client *client);
/* Runs a block; *ret_host_ns: how long that took by the host's clock. True: *ret_block is the
 * caller's (step_ns to be freed). A block other than the one asked for ends the session. */
bool client_run(struct client *client, uint32_t steps_count, enum proto_sync sync, bool is_measured,
                struct proto_block *ret_block, uint64_t *ret_host_ns);
bool client_memory(struct client *client, struct proto_memory *ret_memory);
/* What step `step` must give. The caller's phase stays. */
bool client_verify(struct client *client, uint64_t step, struct proto_verified *ret_verified);
bool client_check(struct client *client, const struct proto_check *request);
/* Only of a worker whose hello says that it has a profiler. */
bool client_profile(struct client *client, const struct proto_profile *request,
                    struct proto_profiled *ret_profiled);
/* Takes the worker down, whatever its state (session_finish()). */
void client_close(struct client *client);

/* What makes the results wrong, so far: reasons of an `invalid` cell. */
void client_faults(const struct client *client, struct reasons *ret_reasons);
/* For callers that have no use for wrong results: ends the session, `invalid`, at the first fault.
 * The worker still takes `close`. */
void client_end_if_faulty(struct client *client);

#endif
