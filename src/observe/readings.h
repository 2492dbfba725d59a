/* observe/readings.h - medians of records as readings that trials, runs and the canary are made of,
 * and what several of them come to as fields. */
#ifndef OBSERVE_READINGS_H
#define OBSERVE_READINGS_H

#include <stdbool.h>

#include "measure/trials.h"
#include "result/record.h"
#include "store/store.h"

/* A record's median as a reading, where it has a sound one (store_median_of). */
bool reading_of_record(const struct record *record, struct measure_reading *ret_reading);
struct measure_reading reading_of_median(const struct store_median *median);

/* Sets the results of two or more trials, or runs: six fields, in the order count, mean, low and
 * high end of its interval, spread, range. */
void readings_put(const struct trials *trials, const enum fact_id fields[6], struct record *record);
void readings_put_interval(const struct measure_interval *interval, enum fact_id low,
                           enum fact_id high, const char *why_not, struct record *record);

#endif
