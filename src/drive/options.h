/* drive/options.h - what a trial is told, part by part. */
#ifndef DRIVE_OPTIONS_H
#define DRIVE_OPTIONS_H

#include "client/options.h"
#include "drive/nearest_fit.h"
#include "drive/sweep_facts.h"
#include "measure/policy.h"
#include "observe/probe.h"

/* What the record says of the call. All borrowed: for the trial's life. */
struct trial_origin {
    const char *run_id;
    const char *command_json; /* argument vector */
    const char *environment_json;
    const char *environment_id;
    const char *source_commit; /* NULL or "": not in git */
};

struct trial_options {
    struct client_options client;
    struct measure_policy policy;
    double drift_limit_percent; /* halves further apart are `unsteady`; 0 = not judged */
    struct observe_options observe;
    struct trial_origin origin;
    predict_memory *predict; /* borrowed: the engine's; NULL: it has no arithmetic for memory */
    uint64_t card_bytes;     /* memory of the smallest card; 0 = not known */
    const struct sweep_facts *sweep; /* borrowed; NULL: the trial is of no sweep */
};

#endif
