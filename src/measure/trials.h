/* measure/trials.h - what several trials of one cell say together: the spread between processes,
 * which no interval from the samples of one process can see. Pure. docs/metrics.md has the
 * formulas.
 */
#ifndef MEASURE_TRIALS_H
#define MEASURE_TRIALS_H

#include <stdbool.h>
#include <stddef.h>

#include "measure/interval.h"

struct trials {
    size_t count;
    /* Geometric mean of the medians. Not their median: that has no interval from order statistics
     * below six trials, and an interval has to belong to the value that it is shown with. */
    double location;
    /* exp(mean of the logarithms +- t_(k-1) s / sqrt(k)), s their standard deviation; two trials
     * or more. Assumes nothing but trials whose logarithms are about normal and independent. */
    struct measure_interval location_95;
    /* 100 sqrt(exp(s^2) - 1): the standard deviation between trials in % (the geometric
     * coefficient of variation, as a log-normal has it); two trials or more. */
    struct measure_value spread_percent;
    double log_sd;                      /* s itself; 0 of one trial */
    struct measure_value range_percent; /* slowest over fastest, less 1; two trials or more */
};

/* `count` >= 1 trials, every median known. */
struct trials trials_of(const struct measure_reading *readings, size_t count);

/* Is the interval between trials wider, as a ratio of its ends, than the widest that one trial says
 * of itself? False where either is not known. */
bool trials_are_wider(const struct trials *trials, const struct measure_reading *readings,
                      size_t count);

#endif
