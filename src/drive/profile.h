/* drive/profile.h - one worker's part of `tokmark profile`: it opens a cell, warms up, and runs
 * some steps under its engine's own profiler. Nothing is timed for a result.
 */
#ifndef DRIVE_PROFILE_H
#define DRIVE_PROFILE_H

#include "drive/worker_run.h"

/* Pointers are borrowed: for the job's life. */
struct profile_job {
    const struct cell *cell;
    const char *log_path;
    const char *trace_path; /* absolute; the worker writes it */
    const char *run_id;
    uint32_t steps_count; /* 1 .. PROTO_PROFILE_STEPS_MAX */
};

struct profile {
    struct worker_run run; /* OK: there is a profile */
    struct proto_profiled seen;
};

MUST_CHECK enum status profile_run(const struct profile_job *job,
                                   const struct client_options *options,
                                   struct profile *ret_profile, struct err *err);

#endif
