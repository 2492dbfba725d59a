#include "measure/quantile.h"

#include <math.h>
#include <stdlib.h>

#include "base/status.h"
#include "measure/special.h"

static int compare_doubles(const void *a, const void *b)
{
    double left = *(const double *)a;
    double right = *(const double *)b;
    return (left > right) - (left < right);
}

void quantile_sort(double *values, size_t count)
{
    if (count > 1)
        qsort(values, count, sizeof(values[0]), compare_doubles);
}

double quantile_median(const double *sorted, size_t count)
{
    ASSERT(count >= 1);
    double upper = sorted[count / 2];
    if (count % 2 == 1)
        return upper;
    double lower = sorted[count / 2 - 1];
    return lower + (upper - lower) / 2;
}

double quantile_nearest_rank(const double *sorted, size_t count, double q)
{
    ASSERT(count >= 1 && q > 0 && q <= 1);
    /* 0.07 * 100 is a hair over 7 in binary: without the margin, rank 8. */
    double position = q * (double)count;
    double rank = ceil(position - position * 1e-14);
    if (rank < 1)
        rank = 1;
    if (rank > (double)count)
        rank = (double)count;
    return sorted[(size_t)rank - 1];
}

double quantile_linear(const double *sorted, size_t count, double q)
{
    ASSERT(count >= 1 && q >= 0 && q <= 1);
    double place = (double)(count - 1) * q;
    size_t below = (size_t)place;
    if (below + 1 >= count)
        return sorted[count - 1];
    return sorted[below] + (place - (double)below) * (sorted[below + 1] - sorted[below]);
}

size_t quantile_samples_min(double q, double confidence)
{
    ASSERT(q > 0 && q < 1 && confidence > 0 && confidence < 1);
    double risk = 1 - confidence;
    double count = ceil(log(risk) / log(q));
    /* The logarithms may round across a whole number; the powers decide. */
    while (pow(q, count) > risk)
        count++;
    while (count > 1 && pow(q, count - 1) <= risk)
        count--;
    return (size_t)count;
}

/* P(B <= k) for k below the mean: the masses shrink with each step down, so the sum is short and
 * without cancellation. */
static double lower_tail(double k, double n, double q)
{
    double odds = (1 - q) / q;
    double term = special_binomial_mass(k, n, q);
    double sum = term;
    for (double i = k; i >= 1; i--) {
        term *= i / (n - i + 1) * odds;
        double next = sum + term;
        if (next == sum)
            break;
        sum = next;
    }
    return sum;
}

/* P(B >= k) for k above the mean. */
static double upper_tail(double k, double n, double q)
{
    double odds = q / (1 - q);
    double term = special_binomial_mass(k, n, q);
    double sum = term;
    for (double i = k; i < n; i++) {
        term *= (n - i) / (i + 1) * odds;
        double next = sum + term;
        if (next == sum)
            break;
        sum = next;
    }
    return sum;
}

double quantile_binomial_cdf(size_t successes, size_t count, double q)
{
    ASSERT(q > 0 && q < 1);
    if (successes >= count)
        return 1;
    double k = (double)successes;
    double n = (double)count;
    return k < n * q ? lower_tail(k, n, q) : 1 - upper_tail(k + 1, n, q);
}

/* P(B >= successes). The upper tail itself where it is small, not 1 less something near 1. */
static double binomial_upper(size_t successes, size_t count, double q)
{
    if (successes == 0)
        return 1;
    if (successes > count)
        return 0;
    double k = (double)successes;
    double n = (double)count;
    return k > n * q ? upper_tail(k, n, q) : 1 - lower_tail(k - 1, n, q);
}

/* The largest low with P(B < low) <= risk; low = 1 must do. */
static size_t low_rank(size_t count, double q, double risk)
{
    size_t good = 1;
    size_t bad = count + 1;
    while (bad - good > 1) {
        size_t middle = good + (bad - good) / 2;
        if (quantile_binomial_cdf(middle - 1, count, q) <= risk)
            good = middle;
        else
            bad = middle;
    }
    return good;
}

/* The smallest high with P(B >= high) <= risk; high = count must do. */
static size_t high_rank(size_t count, double q, double risk)
{
    size_t bad = 0;
    size_t good = count;
    while (good - bad > 1) {
        size_t middle = bad + (good - bad) / 2;
        if (binomial_upper(middle, count, q) <= risk)
            good = middle;
        else
            bad = middle;
    }
    return good;
}

bool quantile_interval_ranks(size_t count, double q, double confidence, size_t *ret_low,
                             size_t *ret_high)
{
    ASSERT(q > 0 && q < 1 && confidence > 0 && confidence < 1);
    if (count < 2)
        return false;
    double risk = 1 - confidence;
    double below_all = special_binomial_mass(0, (double)count, q);
    double above_all = special_binomial_mass((double)count, (double)count, q);
    if (below_all + above_all > risk)
        return false;
    double low_risk = risk / 2;
    double high_risk = risk / 2;
    if (above_all > high_risk) {
        high_risk = above_all;
        low_risk = risk - above_all;
    } else if (below_all > low_risk) {
        low_risk = below_all;
        high_risk = risk - below_all;
    }
    *ret_low = low_rank(count, q, low_risk);
    *ret_high = high_rank(count, q, high_risk);
    return true;
}
