/* measure/special.h - the special functions that intervals need. Pure. Agreement with SciPy within
 * 1e-10 relative, tails included, is tested (tests/golden/make_measure_golden.py).
 */
#ifndef MEASURE_SPECIAL_H
#define MEASURE_SPECIAL_H

/* P(Z <= x), Z standard normal; small tails keep their digits. */
double special_normal_cdf(double x);
/* The x with P(Z <= x) = p, 0 < p < 1. */
double special_normal_quantile(double p);

/* ln of the gamma function, x > 0. */
double special_log_gamma(double x);

/* P(B = k), B binomial with n trials of probability q, continued to real 0 <= k <= n by the gamma
 * function; 0 < q < 1. Loader's saddle-point form ("Fast and accurate computation of binomial
 * probabilities", 2000): no cancellation between large logarithms. */
double special_binomial_mass(double k, double n, double q);

/* Regularised incomplete beta function I_x(a, b): P(X <= x), X beta distributed; a, b > 0,
 * 0 <= x <= 1. By continued fraction (DLMF 8.17.22), on the side where it converges fast. */
double special_beta_cdf(double x, double a, double b);
/* The x with I_x(a, b) = p, 0 <= p <= 1. */
double special_beta_quantile(double p, double a, double b);

/* Student's t with `freedom` > 0 degrees of freedom, not only whole ones. 0 < p < 1. */
double special_student_cdf(double t, double freedom);
double special_student_quantile(double p, double freedom);

#endif
