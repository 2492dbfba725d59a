#include "measure/steps.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "measure/quantile.h"

#define HAMPEL_REACH  2U /* neighbours on either side */
#define HAMPEL_SIGMAS 3.0
/* Of a normal distribution: standard deviation / median of the distance from the middle. */
#define MAD_SCALE 1.4826
/* Runs that are equal to the last digit still differ by rounding. */
#define SIGMA_MIN 1e-4
/* A few differences tell the noise badly: by simulation, docs/history.md. */
#define SIGMA_EXTRA  2.0
#define PENALTY_LOGS 4.0

/* Sums up to each value, so that a segment's cost takes two differences. */
struct sums {
    double *values, *squares; /* owned; values_count + 1 */
};

static void sums_release(struct sums *sums)
{
    free(sums->values);
    free(sums->squares);
}

static double cost_of(const struct sums *sums, size_t from, size_t to)
{
    double sum = sums->values[to] - sums->values[from];
    return sums->squares[to] - sums->squares[from] - sum * sum / (double)(to - from);
}

/* Around the first value, so that a level far from zero costs no digits. */
static enum status sums_make(const double *values, size_t count, struct sums *ret_sums,
                             struct err *err)
{
    ret_sums->values = malloc((count + 1) * sizeof(double));
    ret_sums->squares = malloc((count + 1) * sizeof(double));
    if (ret_sums->values == NULL || ret_sums->squares == NULL)
        return ERR(err, STATUS_NOMEM, "no memory to look for steps");
    ret_sums->values[0] = ret_sums->squares[0] = 0;
    for (size_t i = 0; i < count; i++) {
        double value = values[i] - values[0];
        ret_sums->values[i + 1] = ret_sums->values[i] + value;
        ret_sums->squares[i + 1] = ret_sums->squares[i] + value * value;
    }
    return STATUS_OK;
}

/* What is known of the best segments of the first `i` values. */
struct search {
    double *costs;      /* owned */
    size_t *starts;     /* owned; of the last segment */
    size_t *candidates; /* owned; starts that may still be best for a later end */
};

static void search_release(struct search *search)
{
    free(search->costs);
    free(search->starts);
    free(search->candidates);
}

static enum status search_make(size_t count, struct search *ret_search, struct err *err)
{
    ret_search->costs = malloc((count + 1) * sizeof(double));
    ret_search->starts = malloc((count + 1) * sizeof(size_t));
    ret_search->candidates = malloc((count + 1) * sizeof(size_t));
    if (ret_search->costs == NULL || ret_search->starts == NULL || ret_search->candidates == NULL)
        return ERR(err, STATUS_NOMEM, "no memory to look for steps");
    return STATUS_OK;
}

/* The best last segment that ends before `to`, and which starts need not be looked at again. */
static void search_end(struct search *search, const struct sums *sums, double penalty, size_t to,
                       size_t *candidates_count)
{
    double best = INFINITY;
    for (size_t i = 0; i < *candidates_count; i++) {
        size_t from = search->candidates[i];
        double cost = search->costs[from] + cost_of(sums, from, to) + penalty;
        if (cost < best) {
            best = cost;
            search->starts[to] = from;
        }
    }
    search->costs[to] = best;
    size_t kept = 0;
    for (size_t i = 0; i < *candidates_count; i++) {
        size_t from = search->candidates[i];
        if (search->costs[from] + cost_of(sums, from, to) <= best)
            search->candidates[kept++] = from;
    }
    *candidates_count = kept;
}

enum status steps_pelt(const double *values, size_t values_count, size_t segment_min,
                       double penalty, size_t *ret_steps, size_t *ret_steps_count, struct err *err)
{
    struct sums sums CLEANUP(sums_release) = {0};
    struct search search CLEANUP(search_release) = {0};
    ASSERT(segment_min > 0);
    *ret_steps_count = 0;
    if (values_count > STEPS_VALUES_MAX)
        return ERR(err, STATUS_LIMIT, "over %d values to look for steps in", STEPS_VALUES_MAX);
    if (values_count < 2 * segment_min)
        return STATUS_OK;
    TRY(sums_make(values, values_count, &sums, err));
    TRY(search_make(values_count, &search, err));
    size_t candidates_count = 0;
    search.costs[0] = -penalty;
    for (size_t to = segment_min; to <= values_count; to++) {
        /* A segment may start where a whole one fits before it, or at the very start. */
        size_t from = to - segment_min;
        if (from == 0 || from >= segment_min)
            search.candidates[candidates_count++] = from;
        search_end(&search, &sums, penalty, to, &candidates_count);
    }
    size_t count = 0;
    for (size_t at = search.starts[values_count]; at > 0; at = search.starts[at])
        ret_steps[count++] = at;
    for (size_t i = 0; i < count / 2; i++) {
        size_t other = ret_steps[i];
        ret_steps[i] = ret_steps[count - 1 - i];
        ret_steps[count - 1 - i] = other;
    }
    *ret_steps_count = count;
    return STATUS_OK;
}

/* --- of a metric --- */

static double median_of(double *values, size_t count)
{
    quantile_sort(values, count);
    return quantile_median(values, count);
}

/* By the differences between neighbours. `scratch` holds count - 1 values. */
static double sigma_of(const double *logs, size_t count, double *scratch)
{
    for (size_t i = 0; i + 1 < count; i++)
        scratch[i] = fabs(logs[i + 1] - logs[i]);
    double sigma = MAD_SCALE * median_of(scratch, count - 1) / sqrt(2.0);
    return fmax(sigma * (1 + SIGMA_EXTRA / (double)count), SIGMA_MIN);
}

static void limit_odd_ones(const double *logs, size_t count, double sigma, double *ret_limited)
{
    for (size_t i = 0; i < count; i++) {
        double near[2 * HAMPEL_REACH + 1];
        size_t near_count = 0;
        size_t from = i > HAMPEL_REACH ? i - HAMPEL_REACH : 0;
        for (size_t j = from; j < count && j <= i + HAMPEL_REACH; j++)
            near[near_count++] = logs[j];
        double middle = median_of(near, near_count);
        ret_limited[i] =
            fmin(fmax(logs[i], middle - HAMPEL_SIGMAS * sigma), middle + HAMPEL_SIGMAS * sigma);
    }
}

static double mean_of(const double *values, size_t from, size_t to)
{
    double sum = 0;
    for (size_t i = from; i < to; i++)
        sum += values[i];
    return sum / (double)(to - from);
}

/* Joins levels that are closer than `least`, the closest first. */
static void drop_small(const double *values, size_t values_count, double least, size_t *steps,
                       size_t *steps_count)
{
    while (*steps_count > 0) {
        size_t smallest = 0;
        double smallest_change = INFINITY;
        for (size_t i = 0; i < *steps_count; i++) {
            size_t from = i > 0 ? steps[i - 1] : 0;
            size_t to = i + 1 < *steps_count ? steps[i + 1] : values_count;
            double change = fabs(mean_of(values, steps[i], to) - mean_of(values, from, steps[i]));
            if (change < smallest_change) {
                smallest_change = change;
                smallest = i;
            }
        }
        if (smallest_change >= least)
            return;
        (*steps_count)--;
        memmove(steps + smallest, steps + smallest + 1, (*steps_count - smallest) * sizeof(*steps));
    }
}

static void free_doubles(double **doubles)
{
    free(*doubles);
}

enum status steps_find(const double *logs, size_t logs_count, double least, size_t *ret_steps,
                       size_t *ret_steps_count, struct err *err)
{
    double *limited CLEANUP(free_doubles) = malloc((logs_count + 1) * sizeof(double));
    *ret_steps_count = 0;
    if (limited == NULL)
        return ERR(err, STATUS_NOMEM, "no memory to look for steps");
    if (logs_count < STEPS_VALUES_MIN)
        return STATUS_OK;
    double sigma = sigma_of(logs, logs_count, limited);
    double penalty = PENALTY_LOGS * log((double)logs_count) * sigma * sigma;
    limit_odd_ones(logs, logs_count, sigma, limited);
    TRY(steps_pelt(limited, logs_count, STEPS_SEGMENT_MIN, penalty, ret_steps, ret_steps_count,
                   err));
    drop_small(limited, logs_count, least, ret_steps, ret_steps_count);
    return STATUS_OK;
}
