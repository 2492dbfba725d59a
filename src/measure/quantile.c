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
