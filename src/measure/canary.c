#include "measure/canary.h"

struct canary_change canary_compare(const struct measure_reading *earlier,
                                    const struct measure_reading *newest, double limit_percent)
{
    struct canary_change change = {.limit_percent = limit_percent};
    change.ratio =
        interval_of_ratio(earlier->median, earlier->median_95, newest->median, newest->median_95);
    change.is_beyond = interval_ratio_is_beyond(&change.ratio, limit_percent);
    return change;
}

bool canary_is_due(uint64_t now_ns, uint64_t last_ns, uint64_t interval_ns, uint64_t others_count)
{
    return interval_ns > 0 && others_count > 0 && now_ns >= last_ns &&
           now_ns - last_ns >= interval_ns;
}

struct measure_policy canary_policy(const struct measure_policy *policy, double step_ns)
{
    struct measure_policy capped = *policy;
    capped.is_target_asked = false; /* of the cells, not of so short a look */
    if (capped.time_max_ns > CANARY_TIME_MAX_NS)
        capped.time_max_ns = CANARY_TIME_MAX_NS;
    if (capped.time_min_ns > capped.time_max_ns)
        capped.time_min_ns = capped.time_max_ns;
    double steps_max = step_ns > 0 ? (double)CANARY_TIME_MAX_NS / step_ns : 0;
    if (capped.steps_exact > 0 && steps_max > 0 && (double)capped.steps_exact > steps_max)
        capped.steps_exact = steps_max > 1 ? (uint64_t)steps_max : 1;
    return capped;
}

void canary_add_reason(const struct canary_change *change, struct reasons *reasons)
{
    const struct measure_interval *ratio = &change->ratio.percent_95;
    if (!change->is_beyond)
        return;
    int digits = interval_digits_beyond(ratio, change->limit_percent);
    reasons_add(
        reasons, "machine_drift",
        "the canary cell's step time changed by %+.*g %% since its first measurement (95 %% "
        "interval %+.*g to %+.*g %%, the limit is %.*g %%); the machine changed since the "
        "sweep began",
        digits, change->ratio.percent.value, digits, ratio->low, digits, ratio->high, digits,
        change->limit_percent);
}
