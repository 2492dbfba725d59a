#include "measure/next_run.h"

#include <math.h>

#include "base/status.h"
#include "measure/special.h"

#define READING_UPPER 0.975 /* of a reading's own interval, at 95 % */

struct next_run_prior next_run_prior_of(const struct next_run_spread *spreads, size_t count)
{
    double weights = 0;
    double sum = 0;
    for (size_t i = 0; i < count; i++) {
        double weight = spreads[i].weight * spreads[i].freedom;
        weights += weight;
        sum += weight * spreads[i].variance;
    }
    if (!(weights > 0))
        return (struct next_run_prior){0};
    return (struct next_run_prior){sum / weights, fmin(weights, NEXT_RUN_PRIOR_FREEDOM_MAX)};
}

/* Of the logarithms, about the first: runs that are alike lose no digits. */
static double log_mean(const struct measure_reading *runs, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += log(runs[i].median / runs[0].median);
    return sum / (double)count;
}

/* Sum of squares about their mean. */
static double log_squares(const struct measure_reading *runs, size_t count)
{
    double mean = log_mean(runs, count);
    double squares = 0;
    for (size_t i = 0; i < count; i++)
        squares += pow(log(runs[i].median / runs[0].median) - mean, 2);
    return squares;
}

struct next_run_spread next_run_spread_of(const struct measure_reading *runs, size_t count,
                                          double weight)
{
    ASSERT(count >= 2);
    double freedom = (double)count - 1;
    return (struct next_run_spread){log_squares(runs, count) / freedom, freedom, weight};
}

/* The variance of a median about its run's own level, by its interval; false: not known. */
static bool own_variance(const struct measure_reading *run, double *ret_variance)
{
    const struct measure_interval *interval = &run->median_95;
    if (!interval->is_known || !(interval->low > 0))
        return false;
    double width = log(interval->high / interval->low);
    *ret_variance = pow(width / (2 * special_normal_quantile(READING_UPPER)), 2);
    return true;
}

/* Over the runs whose own is known; 0 where none is. */
static double mean_own_variance(const struct measure_reading *runs, size_t count)
{
    double sum = 0;
    size_t known = 0;
    for (size_t i = 0; i < count; i++) {
        double variance = 0;
        if (!own_variance(&runs[i], &variance))
            continue;
        sum += variance;
        known++;
    }
    return known > 0 ? sum / (double)known : 0;
}

static enum next_run_basis basis_of(size_t count, bool are_trials, bool has_prior, bool has_own)
{
    if (count > 1)
        return are_trials ? NEXT_RUN_TRIALS : NEXT_RUN_CELL;
    if (has_prior)
        return NEXT_RUN_KIND;
    return has_own ? NEXT_RUN_THIS_RUN : NEXT_RUN_UNKNOWN;
}

/* The interval of that half-width about the runs' mean, and all of the runs. */
static struct measure_interval hold_all(const struct measure_reading *runs, size_t count,
                                        double half)
{
    double location = runs[0].median * exp(log_mean(runs, count));
    struct measure_interval interval = {true, location * exp(-half), location * exp(half)};
    for (size_t i = 0; i < count; i++) {
        interval.low = fmin(interval.low, runs[i].median);
        interval.high = fmax(interval.high, runs[i].median);
    }
    return interval;
}

struct next_run next_run_of(const struct measure_reading *runs, size_t count, bool are_trials,
                            struct next_run_prior prior, double confidence)
{
    ASSERT(count >= 1 && confidence > 0 && confidence < 1);
    double k = (double)count;
    double own = 0; /* this run's */
    bool has_own = own_variance(&runs[count - 1], &own);
    double freedom = prior.freedom + k - 1;
    struct next_run next = {
        .basis = basis_of(count, are_trials, prior.freedom > 0, has_own),
        .freedom = freedom > 0 ? freedom : INFINITY,
    };
    if (next.basis == NEXT_RUN_UNKNOWN)
        return next;
    double mean_own = mean_own_variance(runs, count);
    double pooled = mean_own;
    double upper = 1 - (1 - confidence) / 2;
    double quantile = special_normal_quantile(upper);
    if (freedom > 0) {
        double seen = (prior.freedom * prior.variance + log_squares(runs, count)) / freedom;
        double between = fmax(0, seen - mean_own);
        next.between_percent = (struct measure_value){true, 100 * sqrt(expm1(between))};
        pooled = fmax(seen, mean_own);
        quantile = special_student_quantile(upper, freedom);
    }
    /* A shorter run than the others is less well known, and so is one more like it. */
    double next_variance = pooled + fmax(0, own - mean_own);
    next.log_sd = sqrt(next_variance);
    next.interval = hold_all(runs, count, quantile * sqrt(next_variance + pooled / k));
    return next;
}

const char *next_run_basis_name(enum next_run_basis basis)
{
    switch (basis) {
    case NEXT_RUN_UNKNOWN: return NULL;
    case NEXT_RUN_THIS_RUN: return "this_run";
    case NEXT_RUN_KIND: return "kind";
    case NEXT_RUN_CELL: return "cell";
    case NEXT_RUN_TRIALS: return "trials";
    }
    return NULL;
}
