/* measure/precision.h - how well a measured median is known, in words. Pure. */
#ifndef MEASURE_PRECISION_H
#define MEASURE_PRECISION_H

#include "base/num.h"
#include "measure/interval.h"
#include "spec/verdict.h"

/* A median that is known no better than this is worth a warning, where nobody asked for a
 * precision.
 */
#define PRECISION_WIDE_PERCENT 5.0

/* Reason codes. */
#define PRECISION_TARGET_NOT_MET "target_ci_not_met"
#define PRECISION_IMPRECISE      "imprecise"
#define PRECISION_CORRELATED     "correlated"

/* The median of so many samples. */
struct precision {
    size_t samples_count;
    double median_ns;
    struct measure_interval median_95;
    double effective_count;
    double needed_count; /* of effective ones, for an interval */
};

/* The wider side of the interval in % of the median; infinite without one. */
double precision_percent(const struct precision *precision);
/* Where a run's time went. */
struct precision_time {
    uint64_t measured_ns; /* clean blocks */
    uint64_t paused_ns;   /* waiting for others to be done */
    uint64_t aside_ns;    /* disturbed blocks */
};

#define PRECISION_TIME_BYTES (3 * NUM_TEXT_BYTES + 64)

/* "371 ms (pauses for others took 3.1s, disturbed blocks 240 ms)". */
void precision_format_time(const struct precision_time *time, char text[PRECISION_TIME_BYTES]);
/* Adds `target_ci_not_met`, where precision_percent() is over the target after that time. */
void precision_add_target(const struct precision *precision, const struct precision_time *time,
                          double target_percent, struct reasons *reasons);
/* Adds `imprecise` where the interval is wide, or where there are too few samples for one. What
 * precision_add_correlated() says is left to it. */
void precision_add_imprecise(const struct precision *precision, struct reasons *reasons);
/* Adds `correlated` where there are samples enough and still no interval. */
void precision_add_correlated(const struct precision *precision, struct reasons *reasons);

#endif
