/* measure/quantile.h - order statistics. Pure. `sorted` is ascending. */
#ifndef MEASURE_QUANTILE_H
#define MEASURE_QUANTILE_H

#include <stdbool.h>
#include <stddef.h>

/* Median: middle value, or mean of the two middle ones. count >= 1. */
double quantile_median(const double *sorted, size_t count);
/* Nearest rank: the ceil(q * count)-th smallest, 0 < q <= 1. count >= 1. */
double quantile_nearest_rank(const double *sorted, size_t count, double q);
/* Linear between order statistics, at (count - 1) q: for labels and rules of others, not for what
 * is reported. count >= 1, 0 <= q <= 1. */
double quantile_linear(const double *sorted, size_t count, double q);
/* Smallest n for which the largest of n samples bounds quantile q from above with `confidence`:
 * 1 - q^n >= confidence. 29, 59, 299, 2995 for q = .9 .95 .99 .999 at 0.95. */
size_t quantile_samples_min(double q, double confidence);
/* P(B <= successes), B binomial with `count` trials of probability `q`, 0 < q < 1. Exact up to
 * rounding (about 1e-13 for count up to 1e6): point mass by Loader's saddle-point form ("Fast and
 * accurate computation of binomial probabilities", 2000), tail by the ratio of neighbours. */
double quantile_binomial_cdf(size_t successes, size_t count, double q);
/* Sorts ascending in place. */
void quantile_sort(double *values, size_t count);

#endif
