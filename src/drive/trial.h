/* drive/trial.h - one trial of one cell: start a worker, open the model, drive blocks, and turn
 * whatever happened into a record. Failure of a worker is an outcome, not an error: STATUS other
 * than OK means that the harness itself could not go on.
 */
#ifndef DRIVE_TRIAL_H
#define DRIVE_TRIAL_H

#include <stdint.h>

#include "base/hash.h"
#include "base/status.h"
#include "drive/options.h"
#include "result/record.h"
#include "spec/cell.h"
#include "store/store.h"

/* Runs trial `number` of `cell`; raw samples and the log go to `store`. *ret_record is the
 * caller's.
 */
MUST_CHECK enum status trial_run(const struct cell *cell, uint32_t number,
                                 const struct trial_options *options, struct store *store,
                                 struct record **ret_record, struct err *err);

/* The record of a trial that is not run, as `smaller` did not fit in this sweep and `cell` needs at
 * least as much memory: `oom` with reason `dominated`. */
MUST_CHECK enum status trial_dominated(const struct cell *cell, uint32_t number,
                                       const struct trial_options *options,
                                       const struct cell *smaller, struct record **ret_record,
                                       struct err *err);

/* Hash of the policy's and options' parts that change what a result means. */
void trial_policy_id(const struct measure_policy *policy, const char *launch_prefix,
                     char id[HASH_ID_BYTES]);

#endif
