/* observe/throttle.c - were the processors thermally throttled while the cell was measured? */
#include "observe/throttle.h"

#include <inttypes.h>

#include "base/num.h"
#include "observe/list.h"
#include "spec/device.h"

static void before_measured(void *state, const struct observed *seen)
{
    struct throttle *throttle = state;
    if (client_is_here(seen->client))
        throttles_read(seen->client->session.watch.pid, &throttle->before);
}

static void after_measured(void *state, const struct observed *seen, bool is_complete)
{
    (void)is_complete;
    struct throttle *throttle = state;
    if (throttle->before.is_known)
        throttles_read(seen->client->session.watch.pid, &throttle->after);
}

static bool is_known(const struct throttle *throttle)
{
    return throttle->before.is_known && throttle->after.count >= throttle->before.count;
}

static void judge(const void *state, const struct observed *seen, struct judgement *judgement)
{
    const struct throttle *throttle = state;
    if (seen->summary == NULL || !device_is_host(seen->client->cell->device) ||
        !is_known(throttle) || throttle->after.count == throttle->before.count)
        return;
    judgement_warn(judgement, "throttled",
                   "processors were thermally throttled %" PRIu64
                   " time%s while the cell was measured",
                   throttle->after.count - throttle->before.count,
                   num_plural(throttle->after.count - throttle->before.count));
}

static void put(const void *state, const struct observed *seen, struct record *record)
{
    const struct throttle *throttle = state;
    if (is_known(throttle))
        record_set_u64(record, FACT_CPU_THROTTLES, throttle->after.count - throttle->before.count);
    else
        record_set_null(record, FACT_CPU_THROTTLES,
                        client_is_synthetic(seen->client) ? "synthetic" : "not_readable");
}

static const enum fact_id fields[] = {FACT_CPU_THROTTLES};

const struct probe throttle_probe = {
    .name = "throttle",
    .state_bytes = sizeof(struct throttle),
    .fields = fields,
    .fields_count = ARRAY_COUNT(fields),
    .before_measured = before_measured,
    .after_measured = after_measured,
    .judge = judge,
    .put = put,
};
