/* supervise/outcome.h - what a trial came to know, and the record made of it. */
#ifndef SUPERVISE_OUTCOME_H
#define SUPERVISE_OUTCOME_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "measure/history.h"
#include "measure/policy.h"
#include "measure/summary.h"
#include "proto/message.h"
#include "result/given.h"
#include "result/record.h"
#include "spec/cell.h"
#include "store/checks.h"
#include "supervise/session.h"
#include "supervise/supervise.h"
#include "telemetry/cpuload.h"

/* Everything one trial learns, in the order in which it is learnt. */
struct trial {
    const struct cell *cell; /* borrowed: for the trial's life, as is what follows */
    uint32_t number;
    const struct supervise_options *options;
    char cell_id[HASH_ID_BYTES];
    char policy_id[HASH_ID_BYTES];
    char started_at[CLOCK_STAMP_BYTES];
    struct session session;

    bool has_hello;
    struct proto_worker_hello hello;
    uint64_t start_ns; /* starting the process, to its hello */
    bool has_ready;
    struct proto_ready ready;
    uint64_t open_ns; /* by the host's clock */

    struct measure_state measure;
    uint64_t blocks_count;
    bool has_loss_first;
    double loss_first;
    struct proto_observation last; /* of the last measured block */
    struct given_blocks given;     /* what blocks said beside time, by the table of facts */
    uint64_t recompiles_count;     /* in measured blocks */
    uint64_t turns_ns;             /* of measured blocks: from one request's making to the next's */
    uint64_t block_apart_ns; /* of the last block: window, batches, losses; the worker's own */
    uint64_t waiting_cpu_ns; /* our own processor time while measured blocks ran */
    uint64_t steps_ns;       /* sum of their steps, where they are synced one by one */
    bool has_clock_mismatch; /* a window longer than the host saw pass */

    bool has_memory;
    struct proto_memory memory;
    uint64_t total_ns; /* the whole trial, by the host's clock */

    bool has_summary; /* by outcome_summarize() */
    struct measure_summary summary;
    struct drift drift;

    bool has_load; /* its processors were looked at before and after measuring */
    struct cpuload load_before, load_after;
    uint64_t pace_before_ns, pace_after_ns; /* of the machine; 0: not looked at */
    char history_id[HASH_ID_BYTES];         /* by earlier_runs_compare(); "" = none */
    struct history history;
    const char *no_history; /* why there is none; NULL: it is known */
    bool has_check;         /* looked up */
    enum checks_finding check;
    char check_run_id[CHECKS_RUN_BYTES];

    enum verdict verdict; /* by judge_trial() */
    struct reasons reasons;
};

/* What the measured samples say, for the verdict and the record. STATUS_NOMEM only. */
MUST_CHECK enum status outcome_summarize(struct trial *trial, struct err *err);
/* The record of a judged trial. STATUS_NOMEM only. */
MUST_CHECK enum status outcome_record(const struct trial *trial, struct record **ret_record,
                                      struct err *err);

#endif
