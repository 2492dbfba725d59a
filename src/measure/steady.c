#include "measure/steady.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/num.h"
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

/* --- few samples --- */

#define SHORT_WINDOW 5
#define SHORT_LAST   3

/* How far from `reference`, in %. */
static double percent_off(double value, double reference)
{
    return value == reference ? 0 : 100 * fabs(value - reference) / reference;
}

/* What steady_is_short() compares with its limit; false where there are too few samples for it. */
static bool short_percent(const double *samples, size_t count, double *ret_percent)
{
    if (count <= SHORT_LAST)
        return false;
    if (count >= 2 * SHORT_WINDOW) {
        const double *last = samples + count - SHORT_WINDOW;
        *ret_percent = percent_off(median_of(last, SHORT_WINDOW),
                                   median_of(last - SHORT_WINDOW, SHORT_WINDOW));
        return true;
    }
    const double *last = samples + count - SHORT_LAST;
    double median = median_of(last, SHORT_LAST);
    *ret_percent = 0;
    for (size_t i = 0; i < SHORT_LAST; i++)
        *ret_percent = fmax(*ret_percent, percent_off(last[i], median));
    return true;
}

bool steady_is_short(const double *samples, size_t count)
{
    double percent = 0;
    return count < STEADY_SAMPLES_MIN && short_percent(samples, count, &percent) &&
           percent <= STEADY_SHORT_PERCENT;
}

/* --- the reason --- */

static void describe_short(const double *samples, size_t count, char text[REASON_TEXT_BYTES])
{
    double percent = 0;
    if (!short_percent(samples, count, &percent)) {
        (void)snprintf(text, REASON_TEXT_BYTES, "too few samples: %zu, and %d are needed", count,
                       SHORT_LAST + 1);
        return;
    }
    int digits = num_digits_apart(percent, STEADY_SHORT_PERCENT);
    if (count >= 2 * SHORT_WINDOW)
        (void)snprintf(text, REASON_TEXT_BYTES,
                       "the medians of its last %d samples and of the %d before differ by %.*g %% "
                       "(the limit is %.*g %%)",
                       SHORT_WINDOW, SHORT_WINDOW, digits, percent, digits, STEADY_SHORT_PERCENT);
    else
        (void)snprintf(text, REASON_TEXT_BYTES,
                       "one of its last %d samples is %.*g %% from their median (the limit is %.*g "
                       "%%)",
                       SHORT_LAST, digits, percent, digits, STEADY_SHORT_PERCENT);
}

/* What is too much: the change, or the trend; and both as it may be said of a small change. */
static void describe_window(const struct steady_look *look, char text[REASON_TEXT_BYTES])
{
    double per_percent = look->before / 100;
    double change = fabs(look->last - look->before);
    double accepted = look->accepted / per_percent;
    double trend = fabs(look->trend_z);
    int digits = num_digits_apart(change / per_percent, accepted);
    int trend_digits = num_digits_apart(trend, STEADY_TREND_Z);
    (void)snprintf(
        text, REASON_TEXT_BYTES,
        "the medians of its last %zu samples and of the %zu before differ by %.*g %% (the "
        "limit is %.*g %%), with a trend of %.*g standard deviations (the limit is %.*g)",
        look->window / 2, look->window / 2, digits, change / per_percent, digits, accepted,
        trend_digits, trend, trend_digits, STEADY_TREND_Z);
}

void steady_add_reason(const double *samples, size_t count, uint64_t steps_count,
                       uint64_t warmup_ns, struct reasons *reasons)
{
    struct steady_look look = steady_look_at(samples, count);
    char total[NUM_TEXT_BYTES];
    char why[REASON_TEXT_BYTES];
    num_format_duration(warmup_ns, total);
    if (look.window == 0)
        describe_short(samples, count, why);
    else
        describe_window(&look, why);
    reasons_add(reasons, "warmup_not_steady",
                "warm-up was capped after %" PRIu64 " step%s, %s: %.400s", steps_count,
                num_plural(steps_count), total, why);
}
