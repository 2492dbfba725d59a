/* supervise/judge.h - the one verdict of a trial, with its reasons (docs/records.md). */
#ifndef SUPERVISE_JUDGE_H
#define SUPERVISE_JUDGE_H

#include <stdbool.h>

#include "supervise/outcome.h"

/* Of all that was seen: what ended the session, or else what the figures say. After
 * outcome_summarize(). */
void judge_trial(struct trial *trial);
/* Share of the cell's processors' time that others used while it was measured; NULL, or why it is
 * not known. */
const char *judge_foreign_percent(const struct trial *trial, double *ret_percent);

#endif
