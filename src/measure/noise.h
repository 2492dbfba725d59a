/* measure/noise.h - how far two equal sides may seem apart: a machine's noise floor. Pure. */
#ifndef MEASURE_NOISE_H
#define MEASURE_NOISE_H

#include <stddef.h>

/* `log_ratios` are the medians of `count` comparisons of a thing with itself, count >= 1. Their
 * true mean is 0, so their spread is s = sqrt(sum x^2 / count), with `count` degrees of freedom
 * (none is lost to an estimated mean), and one more such comparison lies within +-t s with
 * `confidence`, where t is Student's at (1 + confidence) / 2: the prediction interval of a normal
 * variable of known mean (Hahn and Meeker, "Statistical Intervals", 1991, section 4.8, with the
 * mean known). A log ratio, >= 0; expm1() makes a fraction of it. */
double noise_floor(const double *log_ratios, size_t count, double confidence);

#endif
