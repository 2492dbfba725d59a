/* drive/open_once.h - a worker that opens a cell's model and is closed again: what would be
 * measured, by the same road as a trial. */
#ifndef DRIVE_OPEN_ONCE_H
#define DRIVE_OPEN_ONCE_H

#include <stdbool.h>

#include "client/options.h"
#include "proto/message.h"
#include "spec/cell.h"
#include "spec/verdict.h"

struct open_once {
    enum verdict verdict; /* OK: the model was open */
    struct reasons reasons;
    bool has_ready;
    struct proto_worker_hello hello;
    struct proto_ready ready; /* owned: proto_ready_release() */
};

/* Starts the worker, opens the cell and takes the worker down. A worker that cannot is an outcome;
 * STATUS other than OK means that the harness could not go on. Its log is a file that is gone
 * afterwards. */
MUST_CHECK enum status open_once_run(const struct cell *cell, const struct client_options *options,
                                     struct open_once *ret_outcome, struct err *err);

#endif
