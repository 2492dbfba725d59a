/* measure/sentinel.h - has the machine changed since the sweep began? One cell is measured again
 * and again through a long sweep; what it says decides here. Pure: the clock is the caller's.
 */
#ifndef MEASURE_SENTINEL_H
#define MEASURE_SENTINEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "measure/interval.h"
#include "measure/policy.h"
#include "spec/verdict.h"

/* A sentinel's measuring is no longer than this. */
#define SENTINEL_TIME_MAX_NS 10000000000ULL

/* The newest reading against an earlier one; not known where one of them is not. */
struct sentinel_change {
    struct measure_ratio ratio; /* newest / earlier, in % */
    double limit_percent;
    bool is_beyond; /* the whole interval is beyond the limit, up or down */
};

struct sentinel_change sentinel_compare(const struct measure_reading *earlier,
                                        const struct measure_reading *newest, double limit_percent);

/* Is it time to measure it again? `others_count`: trials of other cells since the last time;
 * `interval_ns` 0: never. */
bool sentinel_is_due(uint64_t now_ns, uint64_t last_ns, uint64_t interval_ns,
                     uint64_t others_count);

/* How the sentinel is measured: as its cell was, but no longer than SENTINEL_TIME_MAX_NS, also
 * where an exact number of steps was asked for. `step_ns` is what its step took. */
struct measure_policy sentinel_policy(const struct measure_policy *policy, double step_ns);

/* Adds `machine_drift` with the figures when the change is beyond its limit. */
void sentinel_add_reason(const struct sentinel_change *change, struct reasons *reasons);

#endif
