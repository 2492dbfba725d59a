/* drive/training.h - one worker's part of `tokmark stability`: it opens a cell of training and does
 * its steps one at a time, so that each step's loss and norm are seen. Nothing is timed.
 */
#ifndef DRIVE_TRAINING_H
#define DRIVE_TRAINING_H

#include "drive/worker_run.h"
#include "measure/curve.h"

#define TRAINING_STEPS_MAX 10000

/* Pointers are borrowed: for the job's life. */
struct training_job {
    const struct cell *cell; /* train */
    const char *log_path;
    const char *run_id; /* NULL = none */
    uint32_t steps_count;
    /* (optional) After each step, counted from 1. */
    void (*tell)(void *context, uint32_t step, double loss);
    void *tell_context;
};

/* Release with training_release(). */
struct training {
    struct worker_run run; /* OK: every step was done, and the training is stable */
    double *losses;        /* owned: steps_done of them, NaN = not finite */
    double *norms;         /* owned: the same, or not told */
    uint32_t steps_done;
    uint32_t nonfinite_step; /* whose loss or norm is no finite number: the last; 0 = none */
    uint64_t nonfinite_norms_count;
    struct curve_summary summary;
    /* Busiest expert's share / even share, in the first tenth of the steps and in the last; NaN =
     * no experts, or not told. */
    double imbalance_first, imbalance_last;
};

MUST_CHECK enum status training_run(const struct training_job *job,
                                    const struct client_options *options,
                                    struct training *ret_training, struct err *err);
void training_release(struct training *training);
/* Borrowed: from the training. */
struct curve training_curve(const struct training *training);

#endif
