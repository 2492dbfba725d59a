/* observe/clock_check.c - does the machine's clock run as fast as it has run before? */
#include "observe/clock_check.h"

#include "observe/list.h"
#include "spec/device.h"
#include "telemetry/clock_check.h"

static bool is_on(const struct observe_options *options)
{
    return options->clock_best_ns != NULL;
}

static void before_first(void *state, const struct observed *seen)
{
    struct clock_check *check = state;
    check->before_ns = client_is_here(seen->client) ? clock_check_measure() : 0;
}

static void after_measured(void *state, const struct observed *seen, bool is_complete)
{
    struct clock_check *check = state;
    check->after_ns = is_complete && client_is_here(seen->client) ? clock_check_measure() : 0;
}

/* Within a run a slow machine is as steady as a fast one. */
static void judge(const void *state, const struct observed *seen, struct judgement *judgement)
{
    const struct clock_check *check = state;
    uint64_t best_ns = *seen->options->clock_best_ns;
    char text[REASON_TEXT_BYTES];
    if (seen->summary == NULL || !device_is_host(seen->client->cell->device))
        return;
    if (clock_check_is_slow(best_ns, check->before_ns, "before", text, sizeof(text)) ||
        clock_check_is_slow(best_ns, check->after_ns, "after", text, sizeof(text)))
        judgement_warn(judgement, "machine_slow", "%s", text);
}

static void put(const void *state, const struct observed *seen, struct record *record)
{
    const struct clock_check *check = state;
    uint64_t best_ns = *seen->options->clock_best_ns;
    uint64_t seen_ns = check->before_ns > check->after_ns ? check->before_ns : check->after_ns;
    if (seen_ns == 0) {
        const char *missing = client_is_synthetic(seen->client) ? "synthetic" : "not_measured";
        record_set_null(record, FACT_PACE_MS, missing);
        record_set_null(record, FACT_PACE_PERCENT, missing);
        return;
    }
    record_set_double(record, FACT_PACE_MS, (double)seen_ns / 1e6);
    if (best_ns > 0)
        record_set_double(record, FACT_PACE_PERCENT, 100 * (double)best_ns / (double)seen_ns);
    else
        record_set_null(record, FACT_PACE_PERCENT, "no_reference");
}

static const enum fact_id fields[] = {FACT_PACE_MS, FACT_PACE_PERCENT};

const struct probe clock_check_probe = {
    .name = "clock_check",
    .state_bytes = sizeof(struct clock_check),
    .is_on = is_on,
    .off_reason = "off",
    .fields = fields,
    .fields_count = ARRAY_COUNT(fields),
    .before_first = before_first,
    .after_measured = after_measured,
    .judge = judge,
    .put = put,
};
