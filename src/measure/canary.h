/* measure/canary.h - has the machine changed since the sweep began? A long sweep measures one
 * cell, the canary cell, repeatedly; this compares its results. Pure: the clock is the caller's.
 */
#ifndef MEASURE_CANARY_H
#define MEASURE_CANARY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "measure/interval.h"
#include "measure/policy.h"
#include "spec/verdict.h"

/* The longest measurement of a canary cell. */
#define CANARY_TIME_MAX_NS 10000000000ULL

/* The newest reading compared with an earlier one; not known if one of them is not. */
struct canary_change {
    struct measure_ratio ratio; /* newest / earlier, in % */
    double limit_percent;
    bool is_beyond; /* the whole interval is beyond the limit, up or down */
};

struct canary_change canary_compare(const struct measure_reading *earlier,
                                    const struct measure_reading *newest, double limit_percent);

/* Is it time to measure it again? `others_count`: trials of other cells since the last time;
 * `interval_ns` 0: never. */
bool canary_is_due(uint64_t now_ns, uint64_t last_ns, uint64_t interval_ns, uint64_t others_count);

/* How the canary is measured: as its cell was, but no longer than CANARY_TIME_MAX_NS, also with an
 * exact number of steps. `step_ns` is its step time. */
struct measure_policy canary_policy(const struct measure_policy *policy, double step_ns);

/* Adds `machine_drift` with the numbers if the change is beyond its limit. */
void canary_add_reason(const struct canary_change *change, struct reasons *reasons);

#endif
