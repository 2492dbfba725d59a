/* measure/history.h - do runs of the same cell, by the same program, on the same machine agree?
 * What a machine does for minutes on end no interval from within one run can see. Pure.
 * docs/metrics.md, "Earlier runs".
 */
#ifndef MEASURE_HISTORY_H
#define MEASURE_HISTORY_H

#include <stdbool.h>
#include <stddef.h>

#include "measure/interval.h"
#include "measure/trials.h"
#include "spec/verdict.h"

/* So many of the newest earlier runs count. */
#define HISTORY_RUNS_MAX 10

struct history {
    struct trials runs;   /* the earlier ones and this one */
    double least, most;   /* of their medians, in their unit */
    double limit_percent; /* as asked for: one run's half-width at 95 % */
    double probability;   /* of runs so far apart or farther, were one run as precise as that */
    bool has_disagreed;   /* it is under 5 % */
};

/* `count` >= 1 runs, every median over 0; limit_percent > 0. Were a run's median within
 * +-limit_percent with 95 %, and normal on the logarithms, these would have the standard deviation
 * s0 = ln(1 + limit_percent / 100) / 1.96, and (count - 1) s^2 / s0^2 would be chi-squared. The
 * runs' own intervals play no part: how far runs are apart includes what their samples do not say.
 */
struct history history_of(const struct measure_reading *runs, size_t count, double limit_percent);
/* Adds `runs_disagree` where they do; medians in ms. */
void history_add_reason(const struct history *history, struct reasons *reasons);

#endif
