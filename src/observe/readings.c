#include "observe/readings.h"

#include <math.h>

bool reading_of_record(const struct record *record, struct measure_reading *ret_reading)
{
    struct store_median median;
    if (!store_median_of(record, &median))
        return false;
    *ret_reading = reading_of_median(&median);
    return true;
}

struct measure_reading reading_of_median(const struct store_median *median)
{
    bool is_known = isfinite(median->ms_low) && isfinite(median->ms_high);
    return (struct measure_reading){
        .median = median->ms,
        .median_95 = {is_known, is_known ? median->ms_low : 0, is_known ? median->ms_high : 0}};
}

void readings_put_interval(const struct measure_interval *interval, enum fact_id low,
                           enum fact_id high, const char *why_not, struct record *record)
{
    if (interval->is_known) {
        record_set_double(record, low, interval->low);
        record_set_double(record, high, interval->high);
    } else {
        record_set_null(record, low, why_not);
        record_set_null(record, high, why_not);
    }
}

void readings_put(const struct trials *trials, const enum fact_id fields[6], struct record *record)
{
    record_set_u64(record, fields[0], trials->count);
    record_set_double(record, fields[1], trials->location);
    readings_put_interval(&trials->location_95, fields[2], fields[3], "one_trial", record);
    record_set_double(record, fields[4], trials->spread_percent.value);
    record_set_double(record, fields[5], trials->range_percent.value);
}
