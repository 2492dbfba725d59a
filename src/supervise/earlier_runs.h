/* supervise/earlier_runs.h - a trial beside earlier measurements of the same thing on this machine:
 * which those are, whether they agree, and the record's history_* fields.
 */
#ifndef SUPERVISE_EARLIER_RUNS_H
#define SUPERVISE_EARLIER_RUNS_H

#include "result/record.h"
#include "supervise/outcome.h"

/* After outcome_summarize(): sets trial->history, history_id, and no_history where there is
 * nothing to compare. Runs of the same history_id are of the same cell, program, environment,
 * variables and launch; where that is not known of a trial (a user's own code, a device) it has
 * none. */
void earlier_runs_compare(struct trial *trial);
/* Adds `runs_disagree` where it is due. */
void earlier_runs_judge(const struct trial *trial, struct reasons *reasons);
void earlier_runs_put(const struct trial *trial, struct record *record);

#endif
