/* supervise/supervise.h - one trial of one cell: start a worker, open the model, drive blocks, hold
 * deadlines, and turn whatever happened into a record. Failure of a worker is an outcome, not an
 * error: STATUS other than OK means that the harness itself could not go on.
 */
#ifndef SUPERVISE_SUPERVISE_H
#define SUPERVISE_SUPERVISE_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/status.h"
#include "measure/policy.h"
#include "spec/cell.h"
#include "spec/verdict.h"

#include "result/record.h"
#include "store/history.h"
#include "store/store.h"
#include "supervise/events.h"
#include "supervise/sweep_facts.h"

/* Between SIGTERM and SIGKILL, unless somebody knows better. */
#define SUPERVISE_KILL_GRACE_NS (2 * NS_PER_S)

struct supervise_options {
    struct measure_policy policy;
    const char *launch_prefix;   /* words put before the worker's command; NULL = none. Split as a
                                  * shell splits words, run without a shell. */
    const char *self_path;       /* this program, for `worker ENGINE` */
    const char *python;          /* for engines in Python: the interpreter; NULL = they choose */
    const char *work_dir;        /* the worker's folder; NULL = ours */
    uint64_t phase_timeout_ns;   /* start, open, one block, close: each at most this */
    uint64_t kill_grace_ns;      /* between SIGTERM and SIGKILL */
    uint64_t memory_limit_bytes; /* the worker is ended over this RSS; 0 = what is available less a
                                    reserve */
    const char *results_dir;     /* where checks of engines are looked up; NULL = nowhere */
    double foreign_load_limit_percent;  /* of the cell's processors; more is `invalid`; 0 = any */
    const uint64_t *pace_best_ns;       /* of this machine, 0 where unknown; NULL: not looked at */
    const struct history_book *history; /* what earlier runs came to; NULL: not looked at */
    double history_limit_percent;       /* runs further apart differ */
    const char *program_id;             /* content hash of this program */
    double drift_limit_percent;         /* halves further apart are `unsteady`; 0 = not judged */
    const volatile sig_atomic_t *interrupt; /* 1 after SIGINT: end the block, keep what is whole;
                                               more: end at once */
    int wake_fd; /* readable when a signal came, emptied here; -1 = none */
    const char *run_id;
    const char *command_json; /* argument vector, for the record */
    const char *environment_json;
    const char *environment_id;
    const struct event_listener *events; /* borrowed; may be NULL */
    const struct sweep_facts *sweep;     /* borrowed; NULL: the trial is of no sweep */
};

/* Runs trial `trial` of `cell`; raw samples and the log go to `store`. *ret_record is the caller's.
 */
MUST_CHECK enum status supervise_trial(const struct cell *cell, uint32_t trial,
                                       const struct supervise_options *options, struct store *store,
                                       struct record **ret_record, struct err *err);

/* The record of a trial that is not run, as `smaller` did not fit in this sweep and `cell` needs at
 * least as much memory: `oom` with reason `dominated`. */
MUST_CHECK enum status supervise_dominated(const struct cell *cell, uint32_t trial,
                                           const struct supervise_options *options,
                                           const struct cell *smaller, struct record **ret_record,
                                           struct err *err);

/* Hash of the policy's and options' parts that change what a figure means. */
void supervise_policy_id(const struct measure_policy *policy, const char *launch_prefix,
                         char id[HASH_ID_BYTES]);

#endif
