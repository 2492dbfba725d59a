/* drive/outcome.h - what a trial found out, for trial.c, judge.c and the record made of it. */
#ifndef DRIVE_OUTCOME_H
#define DRIVE_OUTCOME_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "client/client.h"
#include "drive/options.h"
#include "drive/step_check.h"
#include "measure/drift.h"
#include "measure/policy.h"
#include "measure/summary.h"
#include "observe/interference.h"
#include "observe/observe.h"
#include "proto/message.h"
#include "result/given.h"
#include "result/record.h"
#include "spec/cell.h"

/* Everything one trial learns, in the order in which it is learnt. */
struct trial {
    const struct cell *cell; /* borrowed: for the trial's life */
    uint32_t number;
    const struct trial_options *options; /* borrowed: as long */
    char cell_id[HASH_ID_BYTES];
    char policy_id[HASH_ID_BYTES];
    char started_at[CLOCK_STAMP_BYTES];
    struct client client;
    struct observer observer;

    struct measure_state measure;
    struct interference interference;
    uint64_t blocks_count;
    bool has_loss_first;
    double loss_first;
    struct proto_observation last;   /* of the last measured block */
    struct given_blocks given;       /* what clean blocks said beside time, by the table of facts */
    struct given_blocks given_aside; /* and what those that were set aside said */
    uint64_t round_trips_ns; /* of clean measured blocks: from one request's making to the next's */
    uint64_t block_window_ns; /* of the last block */
    uint64_t block_apart_ns;  /* the same with batches and losses; the worker's own */
    uint64_t looked_ns;       /* when the machine was looked at last, for who looks on */
    uint64_t waiting_cpu_ns;  /* our own processor time while measured blocks ran */
    uint64_t steps_ns;        /* sum of their steps, where they are synced one by one */

    uint64_t steps_done; /* all of them, since the cell was opened */

    struct step_check step_check;
    uint64_t check_ns; /* what that took, by the host's clock */
    bool has_memory;
    struct proto_memory memory;
    uint64_t total_ns; /* the whole trial, by the host's clock */

    bool has_summary; /* by outcome_summarize() */
    struct measure_summary summary;
    struct drift drift;

    struct nearest_fit fit;     /* where the session ended as oom */
    struct judgement judgement; /* by judge_trial() */
};

/* What the probes may look at now. */
struct observed trial_observed(const struct trial *trial);

/* What the measured samples say, for the verdict and the record. STATUS_NOMEM only. */
MUST_CHECK enum status outcome_summarize(struct trial *trial, struct err *err);
/* The record of a judged trial. STATUS_NOMEM only. */
MUST_CHECK enum status outcome_record(const struct trial *trial, struct record **ret_record,
                                      struct err *err);

#endif
