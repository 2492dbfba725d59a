#include "measure/drift.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "measure/quantile.h"
#include "measure/series.h"

#define CONFIDENCE 0.95

/* --- slope --- */

/* Medians of `points` nearly equal stretches. `work` holds `count` values. */
static void stretch_medians(const double *samples, size_t count, size_t points, double *work,
                            double *ret_medians, double *ret_places)
{
    for (size_t i = 0; i < points; i++) {
        size_t first = i * count / points;
        size_t end = (i + 1) * count / points;
        memcpy(work, samples + first, (end - first) * sizeof(*work));
        quantile_sort(work, end - first);
        ret_medians[i] = quantile_median(work, end - first);
        ret_places[i] = ((double)first + (double)end - 1) / 2;
    }
}

static enum status theil_sen(const double *samples, size_t count, double *ret_slope,
                             struct err *err)
{
    *ret_slope = 0;
    if (count < 2)
        return STATUS_OK;
    size_t points = count < DRIFT_POINTS_MAX ? count : DRIFT_POINTS_MAX;
    size_t pairs = points * (points - 1) / 2;
    double medians[DRIFT_POINTS_MAX];
    double places[DRIFT_POINTS_MAX];
    double *work = calloc(count > pairs ? count : pairs, sizeof(*work));
    if (work == NULL)
        return ERR(err, STATUS_NOMEM, "no memory for the slope of %zu samples", count);
    stretch_medians(samples, count, points, work, medians, places);
    size_t slopes = 0;
    for (size_t i = 0; i < points; i++)
        for (size_t j = i + 1; j < points; j++)
            work[slopes++] = (medians[j] - medians[i]) / (places[j] - places[i]);
    quantile_sort(work, slopes);
    *ret_slope = quantile_median(work, slopes);
    free(work);
    return STATUS_OK;
}

/* --- halves --- */

/* A half's median, and its interval once the half's own slope is taken out about its middle: else a
 * ramp would pass for autocorrelation, and hide itself. (The whole's slope
 * would make a ramp of what is flat before and after a step.) */
struct half {
    double median;
    struct interval_quantile level;
};

static enum status half_of(const double *samples, size_t count, double *work, struct half *ret_half,
                           struct err *err)
{
    double slope = 0;
    enum status status = theil_sen(samples, count, &slope, err);
    if (status != STATUS_OK)
        return status;
    memcpy(work, samples, count * sizeof(*work));
    quantile_sort(work, count);
    ret_half->median = quantile_median(work, count);
    double middle = ((double)count - 1) / 2;
    for (size_t i = 0; i < count; i++)
        work[i] = samples[i] - slope * ((double)i - middle);
    return interval_of_median(work, count, CONFIDENCE, &ret_half->level, err);
}

/* The level's interval, by ratio, about the half's median. */
static struct measure_interval median_95(const struct half *half)
{
    struct measure_interval interval = half->level.two_sided;
    interval.is_known = interval.is_known && interval.low > 0 && half->level.value > 0;
    interval.low *= half->median / half->level.value;
    interval.high *= half->median / half->level.value;
    return interval;
}

static void compare_halves(const struct half *before, const struct half *after, struct drift *drift)
{
    struct measure_ratio ratio =
        interval_of_ratio(before->median, median_95(before), after->median, median_95(after));
    drift->half_change_percent = ratio.percent;
    drift->half_change_95 = ratio.percent_95;
    drift->has_drifted = interval_ratio_is_beyond(&ratio, drift->limit_percent);
}

enum status drift_of(const double *samples, size_t count, double limit_percent,
                     struct drift *ret_drift, struct err *err)
{
    struct drift drift = {.limit_percent = limit_percent, .lag1 = series_lag1(samples, count)};
    if (count < 2) {
        *ret_drift = drift;
        return STATUS_OK;
    }
    double *work = calloc(count, sizeof(*work));
    if (work == NULL)
        return ERR(err, STATUS_NOMEM, "no memory to sort %zu samples", count);
    struct half first;
    struct half second;
    double slope = 0;
    size_t half = count / 2;
    memcpy(work, samples, count * sizeof(*work));
    quantile_sort(work, count);
    double median = quantile_median(work, count);
    enum status status = theil_sen(samples, count, &slope, err);
    if (status == STATUS_OK)
        status = half_of(samples, half, work, &first, err);
    if (status == STATUS_OK)
        status = half_of(samples + count - half, half, work, &second, err);
    free(work);
    if (status != STATUS_OK)
        return status;
    if (median > 0)
        drift.slope_percent = (struct measure_value){true, 100 * slope * (double)count / median};
    compare_halves(&first, &second, &drift);
    *ret_drift = drift;
    return STATUS_OK;
}

void drift_add_reason(const struct drift *drift, struct reasons *reasons)
{
    const struct measure_interval *change = &drift->half_change_95;
    if (!drift->has_drifted)
        return;
    int digits = interval_digits_beyond(change, drift->limit_percent);
    reasons_add(reasons, "drift",
                "the second half's median differs from the first's by %+.*g %% (95 %% interval "
                "%+.*g to %+.*g %%, the limit is %.*g %%); the slope over the run is %+.3g %%",
                digits, drift->half_change_percent.value, digits, change->low, digits, change->high,
                digits, drift->limit_percent, drift->slope_percent.value);
}

/* --- outliers --- */

struct outliers outliers_of(const double *sorted, size_t count)
{
    ASSERT(count >= 1);
    struct outliers found = {.q1 = quantile_linear(sorted, count, 0.25),
                             .q3 = quantile_linear(sorted, count, 0.75)};
    double range = found.q3 - found.q1;
    double sum = 0;
    size_t within = 0;
    for (size_t i = 0; i < count; i++) {
        double value = sorted[i];
        if (value < found.q1 - 3 * range)
            found.low_severe++;
        else if (value < found.q1 - 1.5 * range)
            found.low_mild++;
        else if (value > found.q3 + 3 * range)
            found.high_severe++;
        else if (value > found.q3 + 1.5 * range)
            found.high_mild++;
        else {
            sum += value - found.q1;
            within++;
        }
    }
    /* The quartiles' neighbours are inside, so there is one. */
    found.mean_within = found.q1 + sum / (double)within;
    return found;
}
