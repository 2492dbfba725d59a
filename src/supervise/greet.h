/* supervise/greet.h - the first exchange with any worker. */
#ifndef SUPERVISE_GREET_H
#define SUPERVISE_GREET_H

#include <stdbool.h>

#include "proto/message.h"
#include "supervise/session.h"

/* Sends `hello` and takes the answer. False when there is none and the session has ended; after
 * true it may have ended too: for a worker of another protocol version. */
bool greet_worker(struct session *session, struct proto_worker_hello *ret_hello);

#endif
