#include "measure/steady.h"

#include <math.h>
#include <string.h>

#include "base/status.h"
#include "measure/quantile.h"

double steady_trend_z(const double *values, size_t count)
{
    double score = 0;
    double tied = 0; /* pairs of equal values, then what they take off the variance */
    double n = (double)count;
    for (size_t i = 0; i < count; i++) {
        double equal = 1;
        for (size_t j = 0; j < count; j++) {
            if (j == i)
                continue;
            equal += values[j] == values[i];
            if (j > i)
                score += (values[j] > values[i]) - (values[j] < values[i]);
        }
        /* Each group of t equal values takes off t (t - 1) (2 t + 5): (t - 1) (2 t + 5) a member.
         */
        tied += (equal - 1) * (2 * equal + 5);
    }
    double variance = (n * (n - 1) * (2 * n + 5) - tied) / 18;
    if (variance <= 0 || score == 0)
        return 0;
    return (score > 0 ? score - 1 : score + 1) / sqrt(variance);
}

static double median_of(const double *values, size_t count)
{
    double sorted[STEADY_WINDOW_MAX];
    ASSERT(count <= STEADY_WINDOW_MAX);
    memcpy(sorted, values, count * sizeof(sorted[0]));
    quantile_sort(sorted, count);
    return quantile_median(sorted, count);
}

/* Of the difference of two medians of `half` samples each, by the median absolute deviation from
 * them: 1.4826 of it is a normal's standard deviation, and a median's error is 1.2533 of a mean's.
 */
static double difference_error(const double *first, size_t half, double before, double last)
{
    double deviations[STEADY_WINDOW_MAX];
    for (size_t i = 0; i < 2 * half; i++)
        deviations[i] = fabs(first[i] - (i < half ? before : last));
    return 1.2533 * 1.4826 * median_of(deviations, 2 * half) * sqrt(2 / (double)half);
}

struct steady_look steady_look_at(const double *samples, size_t count)
{
    struct steady_look look = {0};
    if (count < STEADY_SAMPLES_MIN)
        return look;
    size_t half = count / 4;
    if (half > STEADY_WINDOW_MAX / 2)
        half = STEADY_WINDOW_MAX / 2;
    const double *first = samples + count - 2 * half;
    look.window = 2 * half;
    look.before = median_of(first, half);
    look.last = median_of(first + half, half);
    look.error = difference_error(first, half, look.before, look.last);
    look.accepted = fmax(STEADY_CHANGE_PERCENT / 100 * look.before, look.error / 2);
    look.trend_z = steady_trend_z(first, look.window);
    double change = fabs(look.last - look.before);
    bool is_negligible = change + 2 * look.error <= STEADY_CHANGE_SURE_PERCENT / 100 * look.before;
    look.is_settled =
        is_negligible || (change <= look.accepted && fabs(look.trend_z) <= STEADY_TREND_Z);
    return look;
}
