#include "drive/sweep_facts.h"

#include <stdlib.h>
#include <string.h>

#include "observe/readings.h"

static const enum fact_id trials_fields[] = {FACT_TRIALS_COUNT,          FACT_TRIALS_MS,
                                             FACT_TRIALS_MS_LOW,         FACT_TRIALS_MS_HIGH,
                                             FACT_TRIALS_SPREAD_PERCENT, FACT_TRIALS_RANGE_PERCENT};

static void put_nulls(const enum fact_id *fields, size_t count, const char *reason,
                      struct record *record)
{
    for (size_t i = 0; i < count; i++)
        record_set_null(record, fields[i], reason);
}

/* --- trials --- */

static void put_trials(const struct sweep_facts *facts, enum verdict verdict, struct record *record)
{
    struct measure_reading own;
    const char *why_not = NULL;
    if (facts->is_canary)
        why_not = "sentinel";
    else if (!reading_of_record(record, &own))
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
    readings_put(&trials, trials_fields, record);
}

void sweep_facts_put(const struct sweep_facts *facts, enum verdict verdict, struct record *record)
{
    if (facts == NULL) {
        static const char none[] = "no_sweep";
        record_set_null(record, FACT_SWEEP_POSITION, none);
        record_set_null(record, FACT_SWEEP_ORDER, none);
        put_nulls(trials_fields, ARRAY_COUNT(trials_fields), none, record);
        return;
    }
    record_set_u64(record, FACT_SWEEP_POSITION, facts->position);
    record_set_string(record, FACT_SWEEP_ORDER, facts->is_shuffled ? "random" : "plan");
    put_trials(facts, verdict, record);
}
