/* drive/judge.h - the one verdict of a trial, with its reasons (docs/records.md). */
#ifndef DRIVE_JUDGE_H
#define DRIVE_JUDGE_H

#include "drive/outcome.h"

/* Of all that was seen: what ended the session, what the client finds wrong, what probes and the
 * samples say. After outcome_summarize(). */
void judge_trial(struct trial *trial);

#endif
