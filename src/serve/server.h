/* serve/server.h - the page of a results folder, and its data, over HTTP. */
#ifndef SERVE_SERVER_H
#define SERVE_SERVER_H

#include <stdint.h>

#include "base/status.h"

#define SERVER_ADDRESS_BYTES 640

/* Borrowed: for the server's life, what is not `dir` for the call. */
struct server_options {
    const char *dir;
    const char *address; /* to listen on, as text; NULL = this machine alone */
    uint16_t port;       /* 0 = any free one */
    const char *token;   /* for an address that others reach; NULL = one is made up */
};

struct server; /* opaque */

/* Listens, and answers from now on. STATUS_NOT_FOUND: no libmicrohttpd; STATUS_INVALID: the address
 * is none; STATUS_BUSY: the port is taken. */
MUST_CHECK enum status server_start(const struct server_options *options,
                                    struct server **ret_server, struct err *err);
/* What to open in a browser, with the token if there is one. Borrowed. */
const char *server_address(const struct server *server);
/* Reads the folder for the clients until `wake_fd` is readable. */
MUST_CHECK enum status server_run(struct server *server, int wake_fd, struct err *err);
void server_stop(struct server *server);

#endif
