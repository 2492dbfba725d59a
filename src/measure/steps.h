/* measure/steps.h - where a series that is measured again and again changes its level and stays
 * there. Pure.
 *
 * The changes of mean that minimise the sum of squared deviations plus a penalty a segment, found
 * by PELT (Killick, Fearnhead, Eckley, "Optimal detection of changepoints with a linear
 * computational cost", 2012). docs/history.md says how the penalty is chosen and how often it is
 * wrong.
 */
#ifndef MEASURE_STEPS_H
#define MEASURE_STEPS_H

#include <stddef.h>

#include "base/status.h"

/* A level that lasted for fewer is no level: a single odd run is not a step. */
#define STEPS_SEGMENT_MIN 3
/* With fewer values nothing is looked for. */
#define STEPS_VALUES_MIN 8
/* The time grows with the square where nothing changes. */
#define STEPS_VALUES_MAX 20000

/* The first value of each new level, ascending; at most values_count / segment_min of them.
 * `penalty` in units of the values squared. STATUS_NOMEM; STATUS_LIMIT over STEPS_VALUES_MAX. */
MUST_CHECK enum status steps_pelt(const double *values, size_t values_count, size_t segment_min,
                                  double penalty, size_t *ret_steps, size_t *ret_steps_count,
                                  struct err *err);

/* Steps in logarithms of a metric. The noise is told by the differences between neighbours (their
 * median, so that steps do not count); values that lie further from the median of their five
 * neighbours than three standard deviations are moved to there (Hampel's identifier), so that an
 * odd one does not draw a step; a step of less than `least` is none. `ret_steps` as above. */
MUST_CHECK enum status steps_find(const double *logs, size_t logs_count, double least,
                                  size_t *ret_steps, size_t *ret_steps_count, struct err *err);

#endif
