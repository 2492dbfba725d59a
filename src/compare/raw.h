/* compare/raw.h - metrics that records have no interval of, from the raw samples beside them. */
#ifndef COMPARE_RAW_H
#define COMPARE_RAW_H

#include "compare/metric.h"
#include "compare/tally.h"
#include "result/samples.h"

/* Does any of the metrics need raw samples? */
bool raw_is_needed(const struct metrics *metrics);
/* The 95 % intervals of the record's quantiles, one a metric; unknown (NaN) where there are no raw
 * samples, or the metric needs none. `samples` is used and may be used again. STATUS_NOMEM. */
MUST_CHECK enum status raw_summarize(const struct metrics *metrics, const char *source,
                                     const struct record *record, struct samples *samples,
                                     struct tally_sample ret_samples[METRICS_MAX], struct err *err);

#endif
