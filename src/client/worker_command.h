/* client/worker_command.h - the command line of a cell's worker. */
#ifndef CLIENT_WORKER_COMMAND_H
#define CLIENT_WORKER_COMMAND_H

#include "base/words.h"
#include "client/options.h"

/* Launch prefix, then `SELF worker ENGINE` or what follows `exec:`. STATUS_INVALID for a command
 * that cannot be split. */
MUST_CHECK enum status worker_command_make(const struct client_options *options, const char *engine,
                                           struct words *ret_words, struct err *err);

#endif
