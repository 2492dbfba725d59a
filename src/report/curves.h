/* report/curves.h - courses of the loss that `tokmark stability` has kept beside results. */
#ifndef REPORT_CURVES_H
#define REPORT_CURVES_H

#include "report/model.h"

/* Adds those of the newest call in the source's stability.jsonl, CHART_SERIES_MAX of them at most.
 * Where there is no such file, or it cannot be read, there are none. STATUS_NOMEM only. */
MUST_CHECK enum status report_curves_take(struct report *report, uint32_t source, struct err *err);

#endif
