/* cli/context.h - what every call that starts workers has: its words, its id, the program's own
 * path, the environment with the interpreters in it, signals; and the one rule for its exit code.
 */
#ifndef CLI_CONTEXT_H
#define CLI_CONTEXT_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/status.h"
#include "cli/command.h"
#include "cli/run_id.h"
#include "cli/run_options.h"
#include "client/fork_pool.h"
#include "client/options.h"
#include "engines/engine.h"

struct context {
    const struct invocation *call;      /* borrowed: for the context's life */
    struct buf environment;             /* JSON (telemetry/environment.h) */
    struct buf command;                 /* JSON array of words */
    char environment_id[HASH_ID_BYTES]; /* by context_identify() */
    char run_id[RUN_ID_BYTES];
    char self_path[FILE_PATH_BYTES];
    int wake_fd;                 /* by context_listen(); -1 = none */
    struct fork_pool *fork_pool; /* owned */
};

/* context_close() in any case. */
MUST_CHECK enum status context_open(struct context *context, const struct invocation *call,
                                    struct err *err);
/* The environment's id; after everything that belongs to it was added. */
void context_identify(struct context *context);
/* From now on signals are flags (cli/signals.h) instead of the program's end. */
MUST_CHECK enum status context_listen(struct context *context, struct err *err);
void context_close(struct context *context);

/* The argument vector as JSON, for results. */
const char *context_command(const struct context *context);

/* How a side's, or the whole call's, workers are started. `options`: those of the flags that every
 * command takes by the rows of `run` (launch, python, timeout, memory-limit). The paths are
 * borrowed from both. */
struct client_options context_client(const struct context *context,
                                     const struct run_options *options);
/* What forks a side's, or the whole call's, workers, where more than one is started alike; NULL =
 * nothing may: another language's engine, a launcher's process, or the user wants none. */
struct fork_pool *context_fork_pool(const struct context *context,
                                    const struct run_options *options,
                                    const struct engine_ops *ops);
/* Why workers were not forked that could have been; NULL = there is nothing to say. */
const char *context_fork_failure(const struct context *context);
/* Can the engine's worker be started, with all that it needs? Appends what it says of its
 * interpreter to ret_json (nothing for an engine that has none, or another's command). */
MUST_CHECK enum status context_preflight(const struct client_options *client,
                                         const struct engine_ops *ops, struct buf *ret_json,
                                         struct err *err);

/* The outcome of a call. */
struct context_outcome {
    bool has_result;      /* anything was measured, compared or found to be there */
    bool is_all_well;     /* everything that was asked for */
    bool has_failed_gate; /* and that is what was asked about */
    bool is_interrupted;
};

enum exit_code context_exit_code(const struct context_outcome *outcome);
/* The exit code of a call that could not go on, after telling why. `has_begun`: results may have
 * been written; before that an engine that is not there is nothing measured, and no failure of the
 * disk. */
enum exit_code context_fail(const struct context *context, bool has_begun, enum status status,
                            const struct err *err);

#endif
