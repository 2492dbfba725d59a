/* compare/metric.h - the metrics that two results are compared by, from the table of facts. */
#ifndef COMPARE_METRIC_H
#define COMPARE_METRIC_H

#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"
#include "spec/facts.h"

#define METRICS_MAX 16

struct metric {
    enum fact_id fact;
    enum fact_compare how; /* SAMPLED, READING or COUNTED */
    double least_percent;  /* 0 of a counted one */
    /* Of a sampled one the fields that hold its 95 % interval, or one that is as wide relative to
     * it; FACTS_COUNT where a record has none. */
    enum fact_id middle, low, high;
    double quantile;  /* of a sampled one that records have no interval of; else 0 */
    bool is_stand_in; /* only where one of the sides does not know the metric before it */
};

struct metrics {
    struct metric items[METRICS_MAX];
    size_t count;
};

/* Those of these names; none: ms_p50, tokens_per_sec in its stead where a side has no median,
 * peak_mem_mb, mem_predicted_mb and params_millions. `least_percent` over 0 is that of all that are
 * measured, in place of the table's. STATUS_INVALID: a name of no field, or of one that is no
 * metric. */
MUST_CHECK enum status metrics_choose(const char *const *names, size_t names_count,
                                      double least_percent, struct metrics *ret_metrics,
                                      struct err *err);

#endif
