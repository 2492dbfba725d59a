#include "measure/curve.h"

#include <math.h>
#include <string.h>

#include "base/status.h"
#include "measure/quantile.h"

#define END_STEPS_MIN 5

/* --- one curve --- */

/* Steps of the last tenth. */
static size_t end_count(size_t count)
{
    size_t tenth = count / 10 > END_STEPS_MIN ? count / 10 : END_STEPS_MIN;
    return tenth < count ? tenth : count;
}

static double median_of(const double *values, size_t count, double *scratch)
{
    memcpy(scratch, values, count * sizeof(*values));
    quantile_sort(scratch, count);
    return quantile_median(scratch, count);
}

/* Least squares over values[0 .. count-1] by their index. */
static double slope_of(const double *values, size_t count)
{
    double middle = ((double)count - 1.0) / 2.0;
    double mean = 0;
    double products = 0;
    double squares = 0;
    for (size_t i = 0; i < count; i++)
        mean += values[i] / (double)count;
    for (size_t i = 0; i < count; i++) {
        products += ((double)i - middle) * (values[i] - mean);
        squares += ((double)i - middle) * ((double)i - middle);
    }
    return squares > 0 ? products / squares : (double)NAN;
}

/* Standard deviations from the mean of the window before it. */
static double spike_z(const double *losses, size_t at)
{
    const double *window = losses + at - CURVE_SPIKE_WINDOW;
    double mean = 0;
    double squares = 0;
    for (size_t i = 0; i < CURVE_SPIKE_WINDOW; i++)
        mean += window[i] / CURVE_SPIKE_WINDOW;
    for (size_t i = 0; i < CURVE_SPIKE_WINDOW; i++)
        squares += (window[i] - mean) * (window[i] - mean);
    double deviation = sqrt(squares / (CURVE_SPIKE_WINDOW - 1));
    double least = CURVE_SPIKE_SHARE * fabs(mean);
    deviation = deviation > least ? deviation : least;
    return deviation > 0 ? (losses[at] - mean) / deviation : 0.0;
}

static void find_spikes(const double *losses, size_t count, struct curve_summary *summary)
{
    for (size_t i = CURVE_SPIKE_WINDOW; i < count; i++) {
        double z = spike_z(losses, i);
        if (z < CURVE_SPIKE_Z)
            continue;
        summary->spikes_count++;
        if (summary->spikes_count == 1 || z > summary->spike_z) {
            summary->spike_z = z;
            summary->spike_step = i + 1;
        }
    }
}

/* `count` losses, all finite. */
static void find_divergence(const double *losses, size_t count, struct curve_summary *summary)
{
    double limit = CURVE_DIVERGED_TIMES * summary->loss_first;
    if (!(summary->loss_end > limit))
        return;
    size_t at = count;
    while (at > 0 && losses[at - 1] > limit)
        at--;
    summary->diverged_step = at + 1;
}

static void summarize_norms(const struct curve *curve, double *scratch,
                            struct curve_summary *summary)
{
    size_t count = 0;
    for (size_t i = 0; i < curve->count; i++)
        if (isfinite(curve->norms[i]))
            scratch[count++] = curve->norms[i];
    if (count == 0)
        return;
    quantile_sort(scratch, count);
    summary->norm_p50 = quantile_median(scratch, count);
    summary->norm_max = scratch[count - 1];
    if (count >= CURVE_NORMS_MIN)
        summary->norm_p95 = quantile_nearest_rank(scratch, count, 0.95);
}

void curve_summarize(const struct curve *curve, double *scratch, struct curve_summary *ret_summary)
{
    struct curve_summary summary = {.loss_first = NAN,
                                    .loss_last = NAN,
                                    .loss_end = NAN,
                                    .loss_slope = NAN,
                                    .spike_z = NAN,
                                    .norm_p50 = NAN,
                                    .norm_p95 = NAN,
                                    .norm_max = NAN};
    size_t finite = 0; /* before the first that is not */
    while (finite < curve->count && isfinite(curve->losses[finite]))
        finite++;
    for (size_t i = finite; i < curve->count; i++)
        summary.nonfinite_losses_count += isfinite(curve->losses[i]) ? 0 : 1;
    summary.nonfinite_step = finite < curve->count ? finite + 1 : 0;
    if (finite > 0) {
        size_t end = end_count(finite);
        summary.loss_first = curve->losses[0];
        summary.loss_last = curve->losses[finite - 1];
        summary.loss_end = median_of(curve->losses + finite - end, end, scratch);
        summary.loss_slope = slope_of(curve->losses + finite / 2, finite - finite / 2);
        find_spikes(curve->losses, finite, &summary);
        if (finite == curve->count)
            find_divergence(curve->losses, finite, &summary);
    }
    summarize_norms(curve, scratch, &summary);
    *ret_summary = summary;
}

/* --- two curves --- */

static double apart(double value, double reference, double scale)
{
    if (value == reference)
        return 0.0;
    return fabs(value - reference) / fabs(scale);
}

static double allowed_at(const struct curve_allowance *allowance, size_t index)
{
    if (index >= allowance->growth_count)
        return allowance->least;
    double grown = CURVE_GROWTH_TIMES * allowance->growth[index];
    return grown > allowance->least ? grown : allowance->least; /* NaN is not */
}

static void take_over(double loss, double allowed, size_t step, struct curve_difference *difference)
{
    if (loss <= allowed || difference->over_step > 0)
        return;
    difference->over_step = step;
    difference->over = loss;
    difference->over_allowed = allowed;
}

void curve_compare(const struct curve *curve, const struct curve *reference,
                   const struct curve_allowance *allowance, struct curve_difference *ret_difference)
{
    size_t count = curve->count < reference->count ? curve->count : reference->count;
    struct curve_difference difference = {.steps_count = count,
                                          .loss = count > 0 ? 0.0 : (double)NAN,
                                          .allowed = allowance->least,
                                          .norm = NAN};
    for (size_t i = 0; i < count; i++) {
        double loss = apart(curve->losses[i], reference->losses[i], reference->losses[0]);
        double norm = apart(curve->norms[i], reference->norms[i], reference->norms[i]);
        double allowed = allowed_at(allowance, i);
        if (isinf(loss))
            loss = NAN;
        take_over(loss, allowed, i + 1, &difference);
        if (!(loss <= difference.loss) || difference.loss_step == 0) {
            difference.loss = loss;
            difference.loss_step = i + 1;
            difference.allowed = allowed;
        }
        if (isnan(loss))
            break;
        if (isfinite(norm) && !(norm <= difference.norm))
            difference.norm = norm;
    }
    *ret_difference = difference;
}

void curve_growth(const struct curve *twin, const struct curve *reference, double *ret_growth)
{
    double growth = 0;
    for (size_t i = 0; i < reference->count; i++) {
        double loss = i < twin->count
                          ? apart(twin->losses[i], reference->losses[i], reference->losses[0])
                          : (double)NAN;
        growth = loss <= growth ? growth : isfinite(loss) && !isnan(growth) ? loss : (double)NAN;
        ret_growth[i] = growth;
    }
}

double curve_tolerance(enum cell_precision precision)
{
    switch (precision) {
    case CELL_PRECISION_FP32: return 2e-3;
    case CELL_PRECISION_TF32:
    case CELL_PRECISION_FP16: return 0.02;
    case CELL_PRECISION_BF16: return 0.05;
    case CELL_PRECISION_BF16_PURE: return 0.1;
    case CELL_PRECISION_INT8: return 0.1;
    }
    UNREACHABLE("no such precision");
}
