/* measure/drift.h - does a measured series stay where it is, and what stands out of it? Pure.
 * Samples are in time order. STATUS_NOMEM only. Nothing here removes a sample.
 */
#ifndef MEASURE_DRIFT_H
#define MEASURE_DRIFT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"
#include "measure/interval.h"
#include "spec/verdict.h"

/* The slope is taken over at most so many points, medians of equal stretches of the series. */
#define DRIFT_POINTS_MAX 200

struct drift {
    /* Theil and Sen's slope (median of all pairs' slopes) times the length of the series, in % of
     * its median: how much it changes from its begin to its end. Needs two samples. */
    struct measure_value slope_percent;
    /* Median of the second half over that of the first, less 1, in %; the interval at 95 % by the
     * halves' own (square-and-add on the logarithms: Zou and Donner, "Construction of confidence
     * limits about effect measures", 2008), each without its own slope: a ramp would else pass for
     * correlation, and hide itself. Known where both halves' are. */
    struct measure_value half_change_percent;
    struct measure_interval half_change_95;
    double lag1;
    double limit_percent; /* as asked for */
    bool has_drifted;     /* the whole interval is beyond the limit, up or down */
};

MUST_CHECK enum status drift_of(const double *samples, size_t count, double limit_percent,
                                struct drift *ret_drift, struct err *err);
/* Adds `drift` with its numbers, where has_drifted. */
void drift_add_reason(const struct drift *drift, struct reasons *reasons);

/* Tukey's fences: 1.5 (mild) and 3 (severe) interquartile ranges beyond the quartiles, which are
 * linear between order statistics. */
struct outliers {
    double q1, q3;
    size_t low_severe, low_mild, high_mild, high_severe;
    double mean_within; /* of the samples inside the mild fences, to compare with the mean */
};

/* `sorted` ascending, count >= 1. */
struct outliers outliers_of(const double *sorted, size_t count);

#endif
