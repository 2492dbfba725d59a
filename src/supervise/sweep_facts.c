#include "supervise/sweep_facts.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const enum fact_id trials_fields[] = {FACT_TRIALS_COUNT,          FACT_TRIALS_MS,
                                             FACT_TRIALS_MS_LOW,         FACT_TRIALS_MS_HIGH,
                                             FACT_TRIALS_SPREAD_PERCENT, FACT_TRIALS_RANGE_PERCENT};
static const enum fact_id sentinel_fields[] = {FACT_SENTINEL_CHANGE_PERCENT,
                                               FACT_SENTINEL_CHANGE_LOW, FACT_SENTINEL_CHANGE_HIGH};

static void put_nulls(const enum fact_id *fields, size_t count, const char *reason,
                      struct record *record)
{
    for (size_t i = 0; i < count; i++)
        record_set_null(record, fields[i], reason);
}

bool sweep_facts_read(const struct record *record, struct measure_reading *ret_reading)
{
    struct store_median median;
    if (!store_median_of(record, &median))
        return false;
    *ret_reading = sweep_facts_reading(&median);
    return true;
}

struct measure_reading sweep_facts_reading(const struct store_median *median)
{
    bool is_known = isfinite(median->ms_low) && isfinite(median->ms_high);
    return (struct measure_reading){
        .median = median->ms,
        .median_95 = {is_known, is_known ? median->ms_low : 0, is_known ? median->ms_high : 0}};
}

void sweep_facts_judge(const struct sweep_facts *facts, struct reasons *reasons)
{
    if (facts->first_reading == NULL)
        sentinel_add_reason(&facts->sentinel, reasons);
}

/* --- trials --- */

static void set_interval(const struct measure_interval *interval, enum fact_id low,
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

void sweep_facts_put_trials(const struct trials *trials, const enum fact_id fields[6],
                            struct record *record)
{
    record_set_u64(record, fields[0], trials->count);
    record_set_double(record, fields[1], trials->location);
    set_interval(&trials->location_95, fields[2], fields[3], "one_trial", record);
    record_set_double(record, fields[4], trials->spread_percent.value);
    record_set_double(record, fields[5], trials->range_percent.value);
}

static void put_trials(const struct sweep_facts *facts, enum verdict verdict, struct record *record)
{
    struct measure_reading own;
    const char *why_not = NULL;
    if (facts->first_reading != NULL)
        why_not = "sentinel";
    else if (!sweep_facts_read(record, &own))
        why_not = verdict == VERDICT_OK || verdict == VERDICT_UNSTEADY ? "below_the_clock"
                                                                       : verdict_name(verdict);
    else if (facts->trials_count == 0)
        why_not = "one_trial";
    struct measure_reading *all =
        why_not == NULL ? calloc(facts->trials_count + 1, sizeof(*all)) : NULL;
    if (all == NULL) {
        put_nulls(trials_fields, ARRAY_COUNT(trials_fields),
                  why_not != NULL ? why_not : "out_of_memory", record);
        return;
    }
    memcpy(all, facts->trials, facts->trials_count * sizeof(*all));
    all[facts->trials_count] = own;
    struct trials trials = trials_of(all, facts->trials_count + 1);
    free(all);
    sweep_facts_put_trials(&trials, trials_fields, record);
}

/* --- the sentinel --- */

/* Of the sentinel's own record: this median against the first. */
static struct sentinel_change own_change(const struct sweep_facts *facts,
                                         const struct record *record)
{
    struct measure_reading newest = {0};
    (void)sweep_facts_read(record, &newest);
    return sentinel_compare(facts->first_reading, &newest, facts->sentinel.limit_percent);
}

static void put_sentinel(const struct sweep_facts *facts, struct record *record)
{
    bool is_own = facts->first_reading != NULL;
    struct sentinel_change change = is_own ? own_change(facts, record) : facts->sentinel;
    if (!change.ratio.percent.is_known) {
        const char *reason = facts->no_sentinel_reason;
        put_nulls(sentinel_fields, ARRAY_COUNT(sentinel_fields),
                  is_own ? "sentinel_failed" : reason, record);
        return;
    }
    record_set_double(record, FACT_SENTINEL_CHANGE_PERCENT, change.ratio.percent.value);
    set_interval(&change.ratio.percent_95, FACT_SENTINEL_CHANGE_LOW, FACT_SENTINEL_CHANGE_HIGH,
                 "too_few_samples", record);
}

void sweep_facts_put(const struct sweep_facts *facts, enum verdict verdict, struct record *record)
{
    if (facts == NULL) {
        static const char none[] = "no_sweep";
        record_set_null(record, FACT_SWEEP_POSITION, none);
        record_set_null(record, FACT_SWEEP_ORDER, none);
        put_nulls(trials_fields, ARRAY_COUNT(trials_fields), none, record);
        put_nulls(sentinel_fields, ARRAY_COUNT(sentinel_fields), none, record);
        return;
    }
    record_set_u64(record, FACT_SWEEP_POSITION, facts->position);
    record_set_string(record, FACT_SWEEP_ORDER, facts->is_shuffled ? "random" : "plan");
    put_trials(facts, verdict, record);
    put_sentinel(facts, record);
}
