/* drive/worker_run.h - one worker that is started for something that is not timed: its start, the
 * opening of its cell, what the caller asks of it then, its end, and what became of it. Whatever
 * goes wrong with the worker is a verdict, as in a trial; a status other than OK means that the
 * harness itself could not go on.
 */
#ifndef DRIVE_WORKER_RUN_H
#define DRIVE_WORKER_RUN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/status.h"
#include "client/client.h"
#include "proto/message.h"
#include "spec/cell.h"
#include "spec/verdict.h"

/* Pointers are borrowed: for the run's life. */
struct worker_job {
    const struct cell *cell;
    const char *log_path;
    const char *name;   /* what it is for, in the log's title: "check" */
    const char *run_id; /* (optional) there, too */
    /* Asks for what is wanted of an open cell. False: the session has ended, or was interrupted. */
    bool (*talk)(void *context, struct client *client);
    /* (optional) Once no process of the worker's lives that could still write: adds reasons why its
     * results are `invalid`. */
    enum status (*judge)(void *context, struct reasons *ret_reasons, struct err *err);
    void *context;
};

struct worker_run {
    enum verdict verdict; /* OK: it has done what it was asked for */
    struct reasons reasons;
    bool has_hello, has_ready;
    struct proto_worker_hello hello;
    struct proto_ready ready; /* without its values of kind JSON */
    char started_at[CLOCK_STAMP_BYTES];
    uint64_t total_ns;
    char log_tail[LOG_TAIL_BYTES + 1];
};

/* Results that are made up are `unsupported`, those of another model or precision `invalid`. */
MUST_CHECK enum status worker_run(const struct worker_job *job,
                                  const struct client_options *options, struct worker_run *ret_run,
                                  struct err *err);

#endif
