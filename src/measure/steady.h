/* measure/steady.h - has a series of step times settled? Pure.
 *
 * The rule looks at the last half of what there is, so that a ramp leaves the window as it ends:
 *  - the medians of the window's own two halves differ by no more than STEADY_CHANGE_PERCENT, or by
 *    half of that difference's standard error, where noise makes it larger;
 *  - the samples show no trend: Mann-Kendall's statistic is within STEADY_TREND_Z deviations of 0.
 *    So strict a test says no to a third of steady windows; the next block is then looked at.
 * A trend that is too small to matter is no obstacle: the rule is also met where the medians'
 * difference and twice its standard error together are within STEADY_CHANGE_SURE_PERCENT.
 * It was compared with the rules of fio, pyperf and MSER-5 by simulation and on recorded series:
 * docs/metrics.md, bench/study_warmup.c.
 */
#ifndef MEASURE_STEADY_H
#define MEASURE_STEADY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "spec/verdict.h"

#define STEADY_CHANGE_PERCENT      1.0
#define STEADY_CHANGE_SURE_PERCENT 0.5
#define STEADY_TREND_Z             1.0
#define STEADY_SAMPLES_MIN         20
#define STEADY_WINDOW_MAX          400
/* Of a warm-up so short that it has fewer samples than STEADY_SAMPLES_MIN. */
#define STEADY_SHORT_PERCENT 5.0

struct steady_look {
    size_t window;   /* samples looked at, the last ones; 0: too few to tell */
    double before;   /* median of the window's first half, */
    double last;     /* and of its second */
    double error;    /* standard error of last - before */
    double accepted; /* the difference that is accepted without a trend */
    double trend_z;
    bool is_settled;
};

/* Mann-Kendall's statistic in standard deviations, ties accounted for: above 0 when later values
 * tend to be larger. 0 without spread. O(count^2). */
double steady_trend_z(const double *values, size_t count);

/* Of the samples so far, in time order. */
struct steady_look steady_look_at(const double *samples, size_t count);

/* For steps so slow that fewer than STEADY_SAMPLES_MIN fit: are the medians of the last five and
 * the five before within STEADY_SHORT_PERCENT; of fewer than ten the last three, the first step not
 * among them, of their median? */
bool steady_is_short(const double *samples, size_t count);
/* Adds `warmup_not_steady`: why the samples of a warm-up that was capped are not settled. */
void steady_add_reason(const double *samples, size_t count, uint64_t steps_count,
                       uint64_t warmup_ns, struct reasons *reasons);

#endif
