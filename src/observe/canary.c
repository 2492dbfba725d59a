/* observe/canary.c - has the machine changed since the sweep began? The sweep measures one cell,
 * its canary, again and again (cli/canary.c); this says what that means for the other cells. */
#include "observe/list.h"
#include "observe/readings.h"

static bool is_on(const struct observe_options *options)
{
    return options->canary != NULL;
}

static void judge(const void *state, const struct observed *seen, struct judgement *judgement)
{
    const struct canary_facts *facts = seen->options->canary;
    struct reasons found = {0};
    (void)state;
    /* It has no verdict on itself. */
    if (seen->summary != NULL && facts->first_reading == NULL)
        canary_add_reason(&facts->change, &found);
    judgement_warn_all(judgement, &found);
}

/* Of the canary's own record: this median from the first. */
static struct canary_change own_change(const struct canary_facts *facts,
                                       const struct record *record)
{
    struct measure_reading newest = {0};
    (void)reading_of_record(record, &newest);
    return canary_compare(facts->first_reading, &newest, facts->change.limit_percent);
}

static const enum fact_id fields[] = {FACT_SENTINEL_CHANGE_PERCENT, FACT_SENTINEL_CHANGE_LOW,
                                      FACT_SENTINEL_CHANGE_HIGH};

static void put(const void *state, const struct observed *seen, struct record *record)
{
    const struct canary_facts *facts = seen->options->canary;
    bool is_own = facts->first_reading != NULL;
    struct canary_change change = is_own ? own_change(facts, record) : facts->change;
    (void)state;
    if (!change.ratio.percent.is_known) {
        for (size_t i = 0; i < ARRAY_COUNT(fields); i++)
            record_set_null(record, fields[i], is_own ? "sentinel_failed" : facts->unknown_reason);
        return;
    }
    record_set_double(record, FACT_SENTINEL_CHANGE_PERCENT, change.ratio.percent.value);
    readings_put_interval(&change.ratio.percent_95, FACT_SENTINEL_CHANGE_LOW,
                          FACT_SENTINEL_CHANGE_HIGH, "too_few_samples", record);
}

const struct probe canary_probe = {
    .name = "canary",
    .is_on = is_on,
    .off_reason = "no_sweep",
    .fields = fields,
    .fields_count = ARRAY_COUNT(fields),
    .judge = judge,
    .put = put,
};
