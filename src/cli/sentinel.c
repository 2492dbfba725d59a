#include "cli/sentinel.h"

#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "drive/trial.h"
#include "observe/readings.h"
#include "spec/verdict.h"

#define TEXT_BYTES_MAX ((size_t)64 * 1024 * 1024)

void sentinel_init(struct sentinel *sentinel, uint64_t interval_ns)
{
    *sentinel = (struct sentinel){.interval_ns = interval_ns};
    buf_init(&sentinel->since, TEXT_BYTES_MAX);
    buf_init(&sentinel->report, TEXT_BYTES_MAX);
}

void sentinel_release(struct sentinel *sentinel)
{
    buf_release(&sentinel->since);
    buf_release(&sentinel->report);
    sentinel->cell = NULL;
}

const char *sentinel_why_unknown(const struct sentinel *sentinel)
{
    if (sentinel->interval_ns == 0)
        return "sentinel_off";
    if (sentinel->readings_count == 0)
        return "no_sentinel_yet";
    return sentinel->change.ratio.percent.is_known ? NULL : "sentinel_failed";
}

static void append_cell(const struct cell *cell, struct buf *out)
{
    buf_appendf(out, "%s %s seq %" PRIu32 " batch %" PRIu32, cell_mode_name(cell->mode),
                cell_precision_name(cell->precision), cell->seq_len, cell->batch_size);
}

void sentinel_take(struct sentinel *sentinel, const struct cell *cell, const struct record *record,
                   const struct measure_policy *policy)
{
    struct measure_reading reading;
    if (sentinel->interval_ns == 0 || record_is_null(record, FACT_MS_PER_STEP))
        return;
    if (sentinel->cell != NULL) {
        if (sentinel->cell == cell)
            return;
        sentinel->others_count++;
        buf_append_text(&sentinel->since, "  ");
        append_cell(cell, &sentinel->since);
        buf_appendf(&sentinel->since, " trial %" PRIu64 "\n", record_u64(record, FACT_TRIAL));
        return;
    }
    if (!reading_of_record(record, &reading))
        return;
    sentinel->cell = cell;
    sentinel->first = reading;
    sentinel->newest = reading;
    sentinel->policy = canary_policy(policy, reading.median * NS_PER_MS);
    sentinel->change.limit_percent = policy->target_ci_percent;
    sentinel->last_ns = clock_now_ns();
}

/* What lies between this reading and the one before, where they differ. */
static void report_step(struct sentinel *sentinel, const struct measure_reading *reading)
{
    /* What has no interval differs from nothing for certain: the one before stays. */
    if (!reading->median_95.is_known && sentinel->newest.median_95.is_known)
        return;
    struct canary_change step =
        canary_compare(&sentinel->newest, reading, sentinel->change.limit_percent);
    if (step.is_beyond) {
        struct buf *out = &sentinel->report;
        buf_append_text(out, "The machine changed: the step time of the canary cell (");
        append_cell(sentinel->cell, out);
        buf_appendf(out,
                    ") changed by %+.3g %% (95 %% interval %+.3g to %+.3g %%) from one measurement "
                    "to the next.\nMeasured in between, so they may belong to either state:\n",
                    step.ratio.percent.value, step.ratio.percent_95.low,
                    step.ratio.percent_95.high);
        buf_append(out, sentinel->since.data, sentinel->since.length_bytes);
    }
    buf_reset(&sentinel->since);
    sentinel->newest = *reading;
}

static void take_reading(struct sentinel *sentinel, const struct record *record)
{
    struct measure_reading reading;
    double limit_percent = sentinel->change.limit_percent;
    sentinel->readings_count++;
    sentinel->others_count = 0;
    sentinel->last_ns = clock_now_ns();
    sentinel->change = (struct canary_change){.limit_percent = limit_percent};
    if (!reading_of_record(record, &reading))
        return;
    sentinel->change = canary_compare(&sentinel->first, &reading, limit_percent);
    report_step(sentinel, &reading);
}

static bool is_due(const struct sentinel *sentinel, bool is_end)
{
    if (sentinel->cell == NULL)
        return false;
    if (is_end)
        return sentinel->readings_count > 0 && sentinel->others_count > 0;
    return canary_is_due(clock_now_ns(), sentinel->last_ns, sentinel->interval_ns,
                         sentinel->others_count);
}

enum status sentinel_check(struct sentinel *sentinel, bool is_end, uint64_t position,
                           bool is_shuffled, const struct trial_options *sweep_options,
                           struct store *store, struct progress *progress, bool *ret_is_interrupted,
                           struct record **ret_lost, struct err *err)
{
    if (!is_due(sentinel, is_end))
        return STATUS_OK;
    const struct sweep_facts facts = {
        .position = position, .is_shuffled = is_shuffled, .is_canary = true};
    const struct canary_facts canary = {.change = {.limit_percent = sentinel->change.limit_percent},
                                        .first_reading = &sentinel->first};
    struct trial_options options = *sweep_options;
    options.policy = sentinel->policy;
    options.sweep = &facts;
    options.observe.canary = &canary;
    struct record *record = NULL;
    progress_set_sentinel(progress, true);
    store_set_sentinel(store, true);
    enum status status = trial_run(sentinel->cell, (uint32_t)sentinel->readings_count + 1, &options,
                                   store, &record, err);
    if (status == STATUS_OK)
        status = store_append(store, record, !record_bool(record, FACT_SYNTHETIC), err);
    store_set_sentinel(store, false);
    progress_set_sentinel(progress, false);
    if (status != STATUS_OK) {
        *ret_lost = record;
        return status;
    }
    take_reading(sentinel, record);
    *ret_is_interrupted |=
        strcmp(record_string(record, FACT_VERDICT), verdict_name(VERDICT_INTERRUPTED)) == 0;
    record_free(record);
    return STATUS_OK;
}
