/* measure/summary.h - from samples to summary statistics. Pure. Formulas and sources:
 * docs/metrics.md. */
#ifndef MEASURE_SUMMARY_H
#define MEASURE_SUMMARY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "measure/drift.h"
#include "measure/interval.h"
#include "measure/policy.h"

struct measure_summary {
    uint64_t samples_count;
    uint64_t steps_count;
    uint64_t window_ns;
    double tokens_per_second; /* tokens of all steps / window, never a mean of ratios; infinite for
                               * a window of 0 ns, which a record turns into null */
    struct measure_interval tokens_per_second_95; /* by mean_95, turned over: holds the rate */
    double mean_ns; /* window / steps, so that mean and tokens_per_second say the same */
    double min_ns;
    double max_ns;
    struct measure_value stddev_ns; /* n >= 2 */
    double median_ns;
    struct measure_interval median_95; /* order statistics among effective_count, needs 6 of them */
    double effective_count;            /* effective sample size for the median */
    double needed_count;               /* that median_95 needs */
    double samples_mean_ns;            /* of the samples; mean_ns where a sample is a step */
    struct measure_interval mean_95;   /* batch means, about samples_mean_ns */
    double lag1;                       /* autocorrelation of neighbouring samples */
    struct measure_value p90_ns;       /* n >= 29 */
    struct measure_value p95_ns;       /* n >= 59 */
    struct measure_value p99_ns;       /* n >= 299 */
    struct measure_value p999_ns;      /* n >= 2995 */
    /* One-sided: the quantile is not over this, with 95 %; needs as many independent samples. */
    struct measure_value p90_upper_95_ns;
    struct measure_value p95_upper_95_ns;
    struct measure_value p99_upper_95_ns;
    struct measure_value p999_upper_95_ns;
    struct outliers outliers; /* labelled; every value above is of all samples */
};

/* `samples`: ns per step, in time order; not changed. samples_count >= 1. STATUS_NOMEM only. */
MUST_CHECK enum status measure_summarize(const double *samples, size_t samples_count,
                                         uint64_t steps_count, uint64_t window_ns,
                                         uint64_t tokens_per_step,
                                         struct measure_summary *ret_summary, struct err *err);

#endif
