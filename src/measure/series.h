/* measure/series.h - how much a series in time order resembles itself. Pure. STATUS_NOMEM only.
 *
 * Correlated samples say less than as many independent ones. The integrated autocorrelation time
 * `time` = 1 + 2 (sum of the autocorrelations at lags 1, 2, ...) is how many of them say as much as
 * one: the effective number is count / time. For a quantile x_q the series that counts is the
 * indicator 1 where x <= x_q, else 0, because the interval's ends are ranks.
 */
#ifndef MEASURE_SERIES_H
#define MEASURE_SERIES_H

#include <stddef.h>

#include "base/status.h"

struct series_time {
    double time;   /* >= 1: a series that swings back and forth is not credited for it */
    size_t window; /* the last lag that was added up, odd */
    /* How well `time` is known, as degrees of freedom of a variance: count / (2 window - 1),
     * because a sum of autocorrelations over that window has about 2 (2 window - 1) / count
     * relative variance. Infinite for window 1, where there was nothing to add up. */
    double freedom;
    double effective_count; /* count / time */
};

/* No digits are lost when the spread is tiny compared with the mean. count >= 1. */
double series_mean(const double *values, size_t count);
/* Autocorrelation at lag 1; 0 for a series without spread or of fewer than two. */
double series_lag1(const double *values, size_t count);

/* The integrated autocorrelation time of 1{x <= x_q} for a Gaussian series whose autocorrelation at
 * lag k is rho^k, 0 <= rho < 1: Mehler's expansion, summed over the lags. At q = 1/2 it is
 * 1 + 2 sum (2 / pi) asin(rho^k). */
double series_gaussian_indicator_time(double rho, double q);

/* The lag-1 autocorrelation of normal scores (ranks, so that no outlier matters), less its bias: 0
 * to 0.99. It needs all values in order, which is most of the work of the times below. count >= 2.
 */
MUST_CHECK enum status series_score_lag1(const double *values, size_t count, double *ret_rho,
                                         struct err *err);
/* The time for the mean, and for quantile q whose sample value is `threshold`: the larger of two.
 * First the series' own (of the values; of the indicator), by Geyer's initial positive sequence
 * ("Practical Markov chain Monte Carlo", 1992): pairs of neighbouring autocorrelations (0 and 1, 2
 * and 3, ...) are added up until a pair is not positive. Then that of a Gaussian AR(1) series with
 * `rho`, this one's series_score_lag1(). The first misses what is hidden in the noise of a short
 * series, the second what dies away more slowly than AR(1). count >= 2. */
MUST_CHECK enum status series_mean_time(const double *values, size_t count, double rho,
                                        struct series_time *ret_time, struct err *err);
MUST_CHECK enum status series_quantile_time(const double *values, size_t count, double q,
                                            double threshold, double rho,
                                            struct series_time *ret_time, struct err *err);

#endif
