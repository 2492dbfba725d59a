/* measure/interval.h - confidence intervals for autocorrelated samples. Pure. Samples are in time
 * order. docs/metrics.md defines them; docs/studies.md shows what they cover, and where they fail
 * (bench/statistics_study.c).
 */
#ifndef MEASURE_INTERVAL_H
#define MEASURE_INTERVAL_H

#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"

#define INTERVAL_BATCHES_MIN 10
#define INTERVAL_BATCHES_MAX 1000

/* A value, known if n is large enough for it. */
struct measure_value {
    bool is_known;
    double value;
};

struct measure_interval {
    bool is_known;
    double low;
    double high;
};

/* Ranks of order statistics that bound quantile q from both sides, among `effective_count`
 * independent samples: low with P(X_(low) <= x_q) = 1 - a and high with P(X_(high) < x_q) = a,
 * where a is half of 1 - confidence. Neither count nor ranks need be whole: F(X_(r)) is beta
 * distributed with r and n - r + 1 (Hutson, "Calculating nonparametric confidence intervals for
 * quantiles using fractional order statistics", 1999), so the coverage is `confidence` itself and
 * not at least that. `freedom` is how well effective_count is known (series.h): a is made as much
 * smaller as Student's t is wider than the normal. False, nothing set, where a rank would be under
 * 1 or over the count.
 */
bool interval_ranks(double effective_count, double q, double confidence, double freedom,
                    double *ret_low, double *ret_high);
/* The count that those ranks need at least. */
double interval_count_needed(double q, double confidence, double freedom);
/* One-sided: the rank high with P(X_(high) < x_q) = 1 - confidence. */
bool interval_upper_rank(double effective_count, double q, double confidence, double freedom,
                         double *ret_high);

struct interval_quantile {
    double value;                      /* median, or nearest rank */
    double effective_count;            /* effective sample size for this quantile */
    double needed_count;               /* that two_sided needs: under it there is none */
    struct measure_interval two_sided; /* the interval at `confidence` */
    struct measure_value upper;        /* x_q is not over it, with `confidence`: one-sided */
};

/* Quantile q of `samples` with its interval and bound. `sorted` are the same samples in ascending
 * order; count >= 1. STATUS_NOMEM only. */
MUST_CHECK enum status interval_of_quantile(const double *samples, const double *sorted,
                                            size_t count, double q, double confidence,
                                            struct interval_quantile *ret_quantile,
                                            struct err *err);

/* The median of samples that are not sorted yet. STATUS_NOMEM only. */
MUST_CHECK enum status interval_of_median(const double *samples, size_t count, double confidence,
                                          struct interval_quantile *ret_median, struct err *err);

/* The lowest and the highest of m independent samples hold the median with 1 - 2 / 2^m, whatever
 * the distribution. Under 95 %, that still says how well a median is known, in the way of a
 * standard deviation with m - 1 degrees of freedom. */
struct measure_extremes {
    double low, high;
    double effective_count; /* m; 1 or less: nothing is known */
};

/* Variance of the median's logarithm: half the extremes' distance, in units of the normal deviate
 * of their confidence. False where nothing is known. */
bool interval_log_variance(const struct measure_extremes *extremes, double *ret_variance);

/* The result of one measurement of a cell. */
struct measure_reading {
    double median;                     /* 0: not known */
    struct measure_interval median_95; /* by the samples within it */
    struct measure_extremes extremes;  /* of too few samples for that */
};

/* How much larger the second of two independent values is, in %. */
struct measure_ratio {
    struct measure_value percent;       /* 100 (second / first - 1) */
    struct measure_interval percent_95; /* known if both values' own intervals are */
};

/* The ratio of two positive values, its interval by square-and-add from theirs on the logarithms
 * (Zou and Donner, "Construction of confidence limits about effect measures", 2008). Not known
 * where a value is not over 0. */
struct measure_ratio interval_of_ratio(double first, struct measure_interval first_95,
                                       double second, struct measure_interval second_95);
/* Is the whole interval over limit_percent, or under -limit_percent? */
bool interval_ratio_is_beyond(const struct measure_ratio *ratio, double limit_percent);
/* Digits with which the nearer end of such an interval does not read as the limit. */
int interval_digits_beyond(const struct measure_interval *interval, double limit_percent);

struct interval_mean {
    double value;
    double effective_count;
    size_t batches_count;
    double batches_lag1; /* autocorrelation of neighbouring batches: near 0 when they are long
                            enough */
    struct measure_interval two_sided;
};

/* Mean by batch means: batches long compared with the autocorrelation time t (10 (t - 1 / t)
 * samples, which leaves an AR(1) series 5 % of variance too little), at least INTERVAL_BATCHES_MIN
 * of them, Student's t with one degree of freedom less than batches. Samples that do not fill the
 * last batch are left out of the batches (from the front), not of the mean. Not known where ten
 * batches are shorter than a quarter of that. `rho`: the series' series_score_lag1(), any of one
 * sample. count >= 1. STATUS_NOMEM only. */
MUST_CHECK enum status interval_of_mean(const double *samples, size_t count, double rho,
                                        double confidence, struct interval_mean *ret_mean,
                                        struct err *err);

/* interval_of_quantile() for a series whose series_score_lag1() is known: it is most of the work.
 */
MUST_CHECK enum status interval_of_quantile_by(const double *samples, const double *sorted,
                                               size_t count, double rho, double q,
                                               double confidence,
                                               struct interval_quantile *ret_quantile,
                                               struct err *err);

#endif
