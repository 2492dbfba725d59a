#include "cli/canary.h"

#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "drive/trial.h"
#include "observe/readings.h"
#include "spec/verdict.h"

#define TEXT_BYTES_MAX ((size_t)64 * 1024 * 1024)

void canary_init(struct canary *canary, uint64_t interval_ns)
{
    *canary = (struct canary){.interval_ns = interval_ns};
    buf_init(&canary->since, TEXT_BYTES_MAX);
    buf_init(&canary->report, TEXT_BYTES_MAX);
}

void canary_release(struct canary *canary)
{
    buf_release(&canary->since);
    buf_release(&canary->report);
    canary->cell = NULL;
}

const char *canary_why_unknown(const struct canary *canary)
{
    if (canary->interval_ns == 0)
        return "sentinel_off";
    if (canary->readings_count == 0)
        return "no_sentinel_yet";
    return canary->change.ratio.percent.is_known ? NULL : "sentinel_failed";
}

static void append_cell(const struct cell *cell, struct buf *out)
{
    buf_appendf(out, "%s %s seq %" PRIu32 " batch %" PRIu32, cell_mode_name(cell->mode),
                cell_precision_name(cell->precision), cell->seq_len, cell->batch_size);
}

void canary_take(struct canary *canary, const struct cell *cell, const struct record *record,
                 const struct measure_policy *policy)
{
    struct measure_reading reading;
    if (canary->interval_ns == 0 || record_is_null(record, FACT_MS_PER_STEP))
        return;
    if (canary->cell != NULL) {
        if (canary->cell == cell)
            return;
        canary->others_count++;
        buf_append_text(&canary->since, "  ");
        append_cell(cell, &canary->since);
        buf_appendf(&canary->since, " trial %" PRIu64 "\n", record_u64(record, FACT_TRIAL) + 1);
        return;
    }
    if (!reading_of_record(record, &reading))
        return;
    canary->cell = cell;
    canary->first = reading;
    canary->newest = reading;
    canary->policy = canary_policy(policy, reading.median * NS_PER_MS);
    canary->change.limit_percent = policy->target_ci_percent;
    canary->last_ns = clock_now_ns();
}

/* What lies between this reading and the one before, where they differ. */
static void report_step(struct canary *canary, const struct measure_reading *reading)
{
    /* What has no interval differs from nothing for certain: the one before stays. */
    if (!reading->median_95.is_known && canary->newest.median_95.is_known)
        return;
    struct canary_change step =
        canary_compare(&canary->newest, reading, canary->change.limit_percent);
    if (step.is_beyond) {
        struct buf *out = &canary->report;
        buf_append_text(out, "The machine changed: the step time of the canary cell (");
        append_cell(canary->cell, out);
        buf_appendf(out,
                    ") changed by %+.3g %% (95 %% interval %+.3g to %+.3g %%) from one measurement "
                    "to the next.\nMeasured in between, so they may belong to either state:\n",
                    step.ratio.percent.value, step.ratio.percent_95.low,
                    step.ratio.percent_95.high);
        buf_append(out, canary->since.data, canary->since.length_bytes);
    }
    buf_reset(&canary->since);
    canary->newest = *reading;
}

static void take_reading(struct canary *canary, const struct record *record)
{
    struct measure_reading reading;
    double limit_percent = canary->change.limit_percent;
    canary->readings_count++;
    canary->others_count = 0;
    canary->last_ns = clock_now_ns();
    canary->change = (struct canary_change){.limit_percent = limit_percent};
    if (!reading_of_record(record, &reading))
        return;
    canary->change = canary_compare(&canary->first, &reading, limit_percent);
    report_step(canary, &reading);
}

static bool is_due(const struct canary *canary, bool is_end)
{
    if (canary->cell == NULL)
        return false;
    if (is_end)
        return canary->readings_count > 0 && canary->others_count > 0;
    return canary_is_due(clock_now_ns(), canary->last_ns, canary->interval_ns,
                         canary->others_count);
}

enum status canary_check(struct canary *canary, bool is_end, uint64_t position, bool is_shuffled,
                         const struct trial_options *sweep_options, struct store *store,
                         bool *ret_is_interrupted, struct record **ret_lost, struct err *err)
{
    if (!is_due(canary, is_end))
        return STATUS_OK;
    const struct sweep_facts facts = {
        .position = position, .is_shuffled = is_shuffled, .is_canary = true};
    const struct canary_facts probed = {.change = {.limit_percent = canary->change.limit_percent},
                                        .first_reading = &canary->first};
    struct trial_options options = *sweep_options;
    options.policy = canary->policy;
    options.sweep = &facts;
    options.observe.canary = &probed;
    options.observe.target_percent = 0; /* of the cells, not of so short a look */
    struct record *record = NULL;
    store_set_canary(store, true);
    enum status status = trial_run(canary->cell, (uint32_t)canary->readings_count + 1, &options,
                                   store, &record, err);
    if (status == STATUS_OK)
        status = store_append(store, record, !record_bool(record, FACT_SYNTHETIC), err);
    if (status == STATUS_OK)
        events_record_stored(options.client.events, record, CANARY_NAME, store_last_offset(store));
    store_set_canary(store, false);
    if (status != STATUS_OK) {
        *ret_lost = record;
        return status;
    }
    take_reading(canary, record);
    if (canary->known != NULL)
        known_take(canary->known, record);
    *ret_is_interrupted |=
        strcmp(record_string(record, FACT_VERDICT), verdict_name(VERDICT_INTERRUPTED)) == 0;
    record_free(record);
    return STATUS_OK;
}
