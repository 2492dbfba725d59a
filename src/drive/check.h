/* drive/check.h - one worker's part of `tokmark check`: start it, open the cell, have it
 * compute the batch, and see that what it wrote is whole. Whatever goes wrong with the worker is a
 * verdict, as in a trial; a status other than OK means that the harness itself could not go on.
 */
#ifndef DRIVE_CHECK_H
#define DRIVE_CHECK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/status.h"
#include "client/client.h"
#include "proto/message.h"
#include "spec/cell.h"
#include "spec/verdict.h"

/* Pointers are borrowed: for the job's life. */
struct check_job {
    const struct cell *cell; /* dropout 0 */
    const char *inputs_path; /* absolute; shorter than CELL_PATH_BYTES */
    const char *output_path; /* the same */
    const char *steps_path;  /* the same: written after `train_steps`; NULL when that is 0 */
    const char *log_path;
    const char *run_id; /* NULL = none */
    uint32_t train_steps;
};

struct check_run {
    enum verdict verdict; /* OK: the output is there, whole and finite */
    struct reasons reasons;
    bool has_hello, has_ready;
    struct proto_worker_hello hello;
    struct proto_ready ready;
    bool has_weights; /* the output also has the weights in use */
    char started_at[CLOCK_STAMP_BYTES];
    uint64_t total_ns;
    char log_tail[LOG_TAIL_BYTES + 1];
};

MUST_CHECK enum status check_run_worker(const struct check_job *job,
                                        const struct client_options *options,
                                        struct check_run *ret_run, struct err *err);

#endif
