#include "measure/next_run.h"

#include <math.h>

#include "base/num.h"
#include "base/status.h"
#include "measure/special.h"

#define READING_UPPER 0.975 /* of a reading's own interval, at 95 % */

struct next_run_prior next_run_prior_of(const struct next_run_spread *spreads, size_t count)
{
    double weights = 0;
    double sum = 0;
    double range = 0;
    for (size_t i = 0; i < count; i++) {
        double weight = spreads[i].weight * spreads[i].freedom;
        weights += weight;
        sum += weight * spreads[i].variance;
        range = fmax(range, spreads[i].range);
    }
    if (!(weights > 0))
        return (struct next_run_prior){0};
    return (struct next_run_prior){sum / weights, fmin(weights, NEXT_RUN_PRIOR_FREEDOM_MAX), range};
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

/* The logarithm of the slowest over the fastest. */
static double log_range(const struct measure_reading *runs, size_t count)
{
    double low = runs[0].median;
    double high = runs[0].median;
    for (size_t i = 1; i < count; i++) {
        low = fmin(low, runs[i].median);
        high = fmax(high, runs[i].median);
    }
    return log(high / low);
}

struct next_run_spread next_run_spread_of(const struct measure_reading *runs, size_t count,
                                          double weight)
{
    ASSERT(count >= 2);
    double freedom = (double)count - 1;
    return (struct next_run_spread){log_squares(runs, count) / freedom, freedom, weight,
                                    log_range(runs, count)};
}

/* The variance of a median about its run's own level, by its interval, or by the extremes of few
 * samples; false: not known. */
static bool own_variance(const struct measure_reading *run, double *ret_variance)
{
    const struct measure_interval *interval = &run->median_95;
    if (!interval->is_known)
        return interval_log_variance(&run->extremes, ret_variance);
    if (!(interval->low > 0))
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

/* What some runs say of one more. */
struct run_estimate {
    double low, high;
    double between; /* variance between runs */
    double freedom; /* 0: that is not known */
};

/* Of a spread that is known from this run's samples alone: few of them know it badly. */
static double own_quantile(const struct measure_reading *run, double upper)
{
    if (run->median_95.is_known)
        return special_normal_quantile(upper);
    double freedom = run->extremes.effective_count - 1;
    return special_student_quantile(upper, fmax(freedom, NEXT_RUN_FREEDOM_MIN));
}

/* `own`: this run's variance, which may be another's than theirs. */
static struct run_estimate estimate_of(const struct measure_reading *runs, size_t count, double own,
                                       struct next_run_prior prior, double confidence)
{
    double k = (double)count;
    double mean_own = mean_own_variance(runs, count);
    double upper = 1 - (1 - confidence) / 2;
    /* A shorter run than the others is less well known, and so is one more like it. */
    double more = fmax(0, own - mean_own);
    double half = own_quantile(&runs[count - 1], upper) * sqrt(mean_own + more + mean_own / k);
    struct run_estimate estimate = {.freedom = prior.freedom + k - 1};
    if (estimate.freedom >= 1) {
        double seen =
            (prior.freedom * prior.variance + log_squares(runs, count)) / estimate.freedom;
        double pooled = fmax(seen, mean_own);
        double range = fmax(prior.range, log_range(runs, count));
        double far = fmax(fmax(NEXT_RUN_FAR, NEXT_RUN_REACH * range), half);
        half = special_student_quantile(upper, fmax(estimate.freedom, NEXT_RUN_FREEDOM_MIN)) *
               sqrt(pooled + more + pooled / k);
        half = fmin(half, far);
        estimate.between = fmax(0, seen - mean_own);
    } else {
        estimate.freedom = 0;
    }
    double location = runs[0].median * exp(log_mean(runs, count));
    estimate.low = location * exp(-half);
    estimate.high = location * exp(half);
    return estimate;
}

static size_t keep_undisturbed(const struct measure_reading *runs, const bool *are_disturbed,
                               size_t count, struct measure_reading *ret_runs)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++)
        if (are_disturbed == NULL || !are_disturbed[i])
            ret_runs[kept++] = runs[i];
    return kept;
}

struct next_run next_run_of(const struct measure_reading *runs, const bool *are_disturbed,
                            size_t count, bool are_trials, struct next_run_priors priors,
                            double confidence)
{
    ASSERT(count >= 1 && count <= NEXT_RUN_RUNS_MAX && confidence > 0 && confidence < 1);
    struct measure_reading undisturbed[NEXT_RUN_RUNS_MAX];
    double own = 0; /* this run's */
    bool has_own = own_variance(&runs[count - 1], &own) &&
                   (runs[count - 1].median_95.is_known ||
                    runs[count - 1].extremes.effective_count >= NEXT_RUN_FEW_MIN);
    struct next_run next = {.basis = basis_of(count, are_trials, priors.all.freedom >= 1, has_own)};
    if (next.basis == NEXT_RUN_UNKNOWN)
        return next;
    struct run_estimate all = estimate_of(runs, count, own, priors.all, confidence);
    next.interval = (struct measure_interval){true, all.low, all.high};
    size_t kept = keep_undisturbed(runs, are_disturbed, count, undisturbed);
    bool is_calm = are_disturbed == NULL || !are_disturbed[count - 1];
    if (kept >= 2 || (is_calm && priors.undisturbed.freedom >= 1))
        next.interval.low = estimate_of(undisturbed, kept, own, priors.undisturbed, confidence).low;
    for (size_t i = 0; i < count; i++) {
        next.interval.low = fmin(next.interval.low, runs[i].median);
        next.interval.high = fmax(next.interval.high, runs[i].median);
    }
    next.freedom = all.freedom;
    if (all.freedom > 0)
        next.between_percent = (struct measure_value){true, 100 * sqrt(expm1(all.between))};
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

void next_run_add_unlike(const struct next_run *expected, size_t runs_count,
                         const struct measure_reading *own, double tick, struct reasons *reasons)
{
    const struct measure_interval *within = &expected->interval;
    struct measure_interval range = own->median_95;
    const char *range_name = range.is_known ? "95 % interval" : "all samples";
    if (!range.is_known && own->extremes.low > 0)
        range = (struct measure_interval){true, own->extremes.low, own->extremes.high};
    else if (!range.is_known)
        range = (struct measure_interval){true, own->median, own->median};
    bool is_over = range.low > within->high + tick;
    if (!within->is_known || (!is_over && range.high >= within->low - tick))
        return;
    int digits = is_over ? num_digits_apart(range.low, within->high)
                         : num_digits_apart(range.high, within->low);
    digits = digits < 5 ? 5 : digits; /* of times, as elsewhere */
    reasons_add(
        reasons, "runs_disagree",
        "the median, %.*g ms (%s %.*g to %.*g ms), is outside of %.*g to %.*g ms, where 95 of "
        "100 are by the %zu run%s before it; the machine has changed, or what else runs "
        "on it",
        digits, own->median, range_name, digits, range.low, digits, range.high, digits, within->low,
        digits, within->high, runs_count, num_plural(runs_count));
}
