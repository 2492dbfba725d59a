#include "measure/warmup.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/num.h"
#include "measure/quantile.h"
#include "measure/steady.h"

#define WINDOW       5
#define SHORT_WINDOW 3

uint64_t warmup_time_max_ns(const struct measure_policy *policy)
{
    uint64_t half_ns = policy->time_max_ns / 2;
    bool is_by_precision = policy->steps_exact == 0;
    return is_by_precision && half_ns < policy->warmup_time_max_ns ? half_ns
                                                                   : policy->warmup_time_max_ns;
}

/* Median of `count` values from `first` on; count <= WINDOW. */
static double window_median(const struct measure_samples *samples, size_t first, size_t count)
{
    double sorted[WINDOW];
    ASSERT(count <= WINDOW && first + count <= samples->count);
    memcpy(sorted, samples->values + first, count * sizeof(sorted[0]));
    quantile_sort(sorted, count);
    return quantile_median(sorted, count);
}

static bool is_within(double value, double reference)
{
    return fabs(value - reference) <= MEASURE_STEADY_PERCENT / 100 * reference;
}

/* At the cap, for steps so slow that too few fit: medians of the last five and the five before, or
 * of fewer than ten the last three, the first step not among them. */
static bool is_short_warmup_steady(const struct measure_samples *samples)
{
    size_t count = samples->count;
    if (count <= SHORT_WINDOW || count >= STEADY_SAMPLES_MIN)
        return false;
    if (count >= 2 * WINDOW)
        return is_within(window_median(samples, count - WINDOW, WINDOW),
                         window_median(samples, count - 2 * WINDOW, WINDOW));
    size_t first = count - SHORT_WINDOW;
    double median = window_median(samples, first, SHORT_WINDOW);
    for (size_t i = first; i < count; i++)
        if (!is_within(samples->values[i], median))
            return false;
    return true;
}

static void add_warmup_reason(struct measure_state *state, const struct steady_look *look)
{
    char total[NUM_TEXT_BYTES];
    num_format_duration(state->warmup_ns, total);
    if (look->window == 0) {
        reasons_add(&state->reasons, "warmup_not_steady",
                    "warm-up was capped after %" PRIu64
                    " steps, %s: the samples are too few or too "
                    "uneven to tell whether the step time is steady",
                    state->warmup_steps_done, total);
        return;
    }
    char last[NUM_TEXT_BYTES];
    char before[NUM_TEXT_BYTES];
    num_format_duration((uint64_t)look->last, last);
    num_format_duration((uint64_t)look->before, before);
    reasons_add(&state->reasons, "warmup_not_steady",
                "warm-up was capped after %" PRIu64 " steps, %s: the median of its last %zu "
                "samples was %s, that of the %zu before %s (%+.2g %%; the limit is %.2g %%), with "
                "a trend of %+.1f standard deviations (the limit is %g)",
                state->warmup_steps_done, total, look->window / 2, last, look->window / 2, before,
                100 * (look->last / look->before - 1), 100 * look->accepted / look->before,
                look->trend_z, STEADY_TREND_Z);
}

void warmup_update(struct measure_state *state)
{
    const struct measure_policy *policy = &state->policy;
    if (!policy->is_warmup_auto) {
        if (state->warmup_steps_done < policy->warmup_steps)
            return;
        state->phase = MEASURE_STEADY;
        state->spent_ns = 0; /* so many steps were asked for, however long they take */
        return;
    }
    bool is_capped = state->warmup_steps_done >= policy->warmup_steps_max ||
                     state->spent_ns >= warmup_time_max_ns(policy);
    struct steady_look look = steady_look_at(state->warmup.values, state->warmup.count);
    state->is_warmup_steady =
        look.is_settled || (is_capped && is_short_warmup_steady(&state->warmup));
    if (!state->is_warmup_steady && !is_capped)
        return;
    if (!state->is_warmup_steady)
        add_warmup_reason(state, &look);
    state->phase = MEASURE_STEADY;
}
