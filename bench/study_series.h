/* bench/study_series.h - made-up series of step times whose true median, quantiles and mean are
 * known, for statistics_study. Times are relative: about 1. Everything follows from the seed. */
#ifndef BENCH_STUDY_SERIES_H
#define BENCH_STUDY_SERIES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The distribution of one sample about its level. */
enum study_shape {
    STUDY_NORMAL,    /* sd 5 % */
    STUDY_LOGNORMAL, /* sigma 0.3 */
    STUDY_PARETO,    /* 1 + 5 % of a Pareto excess, exponent 2.5: finite variance, heavy tail */
    STUDY_BIMODAL,   /* 70 % at 1, 30 % at 1.2, sd 1 % each */
    STUDY_OUTLIERS,  /* sd 2 %, and 3 % of samples about 1.5 */
    STUDY_TIED,      /* normal, sd 5 %, in steps of 2 %: a coarse clock */
};

/* How the level moves over the series of n samples (i / n is the place). */
enum study_trend {
    STUDY_FLAT,
    STUDY_LINEAR,      /* by `size` over the series */
    STUDY_STEP,        /* by `size` at half */
    STUDY_RAMP,        /* from 1 + size down to 1, time constant n / 10 */
    STUDY_OSCILLATION, /* a sine of amplitude `size`, ten periods */
};

struct study_kind {
    const char *name;
    enum study_shape shape;
    double phi;         /* AR(1) of the Gaussian behind the samples, or persistence of the mode */
    double white_share; /* of the Gaussian's variance that is white noise on top of the AR(1) */
    enum study_trend trend;
    double size;
};

/* Sequence of random numbers: a key and how many were taken. */
struct study_random {
    uint64_t key;
    uint64_t counter;
};

double study_uniform(struct study_random *random); /* in (0, 1) */
double study_gauss(struct study_random *random);

void study_series_make(const struct study_kind *kind, struct study_random *random, size_t count,
                       double *ret_samples);
/* Of the mixture of all places of a series of `count`. */
double study_true_quantile(const struct study_kind *kind, size_t count, double q);
double study_true_mean(const struct study_kind *kind, size_t count);

#endif
