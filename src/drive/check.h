/* drive/check.h - one worker's part of `tokmark check`: start it, open the cell, have it
 * compute the batch, and see that what it wrote is whole. Whatever goes wrong with the worker is a
 * verdict, as in a trial; a status other than OK means that the harness itself could not go on.
 */
#ifndef DRIVE_CHECK_H
#define DRIVE_CHECK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"
#include "client/options.h"
#include "drive/worker_run.h"
#include "spec/cell.h"

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

/* *ret_has_weights: the output also has the weights in use. */
MUST_CHECK enum status check_run_worker(const struct check_job *job,
                                        const struct client_options *options,
                                        struct worker_run *ret_run, bool *ret_has_weights,
                                        struct err *err);

#endif
