/* observe/cpu_counters.c - what the processors did for the measured work: instructions, cycles and
 * misses of the last cache by their own counters, and at which clock.
 */
#include "telemetry/cpu_counters.h"

#include <math.h>
#include <stdio.h>

#include "observe/list.h"
#include "telemetry/cpu_clock.h"

struct cpu_work {
    const char *missing;           /* why nothing is counted; NULL: it is, or was. Borrowed */
    struct cpu_counters *counters; /* owned: while it is measured */
    struct cpu_count counts[CPU_COUNTERS_COUNT];
    bool has_counts;
    const char *clock_missing; /* borrowed: static */
    double mhz_sum, mhz_least;
    size_t looks_count;
};

/* The highest clock of the processors right now: idle ones are slower. */
static void look_at_clock(struct cpu_work *work)
{
    double mhz = 0;
    work->clock_missing = cpu_clock_read_mhz("", &mhz);
    if (work->clock_missing != NULL)
        return;
    work->mhz_least = work->looks_count == 0 ? mhz : fmin(work->mhz_least, mhz);
    work->mhz_sum += mhz;
    work->looks_count++;
}

static void before_measured(void *state, const struct observed *seen)
{
    struct cpu_work *work = state;
    work->missing = client_is_synthetic(seen->client) ? "synthetic"
                    : !client_is_here(seen->client)   ? "worker_not_seen"
                                                      : NULL;
    if (work->missing == NULL)
        work->counters = cpu_counters_start(seen->client->session.watch.pid, NULL, &work->missing);
}

static void look(void *state, const struct observed *seen, struct gauges *gauges)
{
    (void)gauges;
    struct cpu_work *work = state;
    if (client_is_here(seen->client))
        look_at_clock(work);
}

static void after_measured(void *state, const struct observed *seen, bool is_complete)
{
    (void)is_complete;
    struct cpu_work *work = state;
    if (client_is_here(seen->client))
        look_at_clock(work);
    work->has_counts = work->counters != NULL;
    cpu_counters_stop(work->counters, work->counts);
    work->counters = NULL;
}

/* --- fields --- */

/* Of every step in the span: those of blocks that were set aside were counted, too. */
static double steps_of(const struct observed *seen)
{
    double steps = (double)seen->summary->steps_count;
    for (size_t i = 0; seen->interference != NULL && i < INTERFERENCE_CAUSES_COUNT; i++)
        if (i != INTERFERENCE_NONE)
            steps += (double)seen->interference->steps[i];
    return steps;
}

static const char *why_no_count(const struct cpu_work *work, const struct observed *seen,
                                enum cpu_counter counter)
{
    if (client_is_synthetic(seen->client))
        return "synthetic";
    if (seen->summary == NULL || seen->summary->steps_count == 0)
        return "not_measured";
    if (work->missing != NULL)
        return work->missing;
    return work->has_counts ? work->counts[counter].missing : "not_measured";
}

static void put_counts(const struct cpu_work *work, const struct observed *seen,
                       struct record *record)
{
    static const enum fact_id per_step[CPU_COUNTERS_COUNT] = {
        [CPU_COUNTER_INSTRUCTIONS] = FACT_INSTRUCTIONS_PER_STEP,
        [CPU_COUNTER_CYCLES] = FACT_CYCLES_PER_STEP,
        [CPU_COUNTER_LLC_MISSES] = FACT_LLC_MISSES_PER_STEP};
    const char *missing[CPU_COUNTERS_COUNT];
    for (size_t i = 0; i < CPU_COUNTERS_COUNT; i++) {
        missing[i] = why_no_count(work, seen, (enum cpu_counter)i);
        double count = missing[i] == NULL ? (double)work->counts[i].value / steps_of(seen) : 0;
        record_put_double(record, per_step[i], count, missing[i]);
    }
    const char *why_not = missing[CPU_COUNTER_INSTRUCTIONS] != NULL
                              ? missing[CPU_COUNTER_INSTRUCTIONS]
                              : missing[CPU_COUNTER_CYCLES];
    double cycles = (double)work->counts[CPU_COUNTER_CYCLES].value;
    if (why_not == NULL && !(cycles > 0))
        why_not = "not_scheduled";
    record_put_double(
        record, FACT_INSTRUCTIONS_PER_CYCLE,
        why_not == NULL ? (double)work->counts[CPU_COUNTER_INSTRUCTIONS].value / cycles : 0,
        why_not);
}

static void put(const void *state, const struct observed *seen, struct record *record)
{
    const struct cpu_work *work = state;
    put_counts(work, seen, record);
    const char *missing = client_is_synthetic(seen->client) ? "synthetic"
                          : seen->summary == NULL           ? "not_measured"
                          : !client_is_here(seen->client)   ? "worker_not_seen"
                          : work->looks_count > 0           ? NULL
                          : work->clock_missing != NULL     ? work->clock_missing
                                                            : "not_measured";
    record_put_double(record, FACT_CPU_MHZ,
                      work->looks_count > 0 ? work->mhz_sum / (double)work->looks_count : 0,
                      missing);
    record_put_double(record, FACT_CPU_MHZ_MIN, work->mhz_least, missing);
}

static const enum fact_id fields[] = {
    FACT_INSTRUCTIONS_PER_STEP, FACT_CYCLES_PER_STEP, FACT_INSTRUCTIONS_PER_CYCLE,
    FACT_LLC_MISSES_PER_STEP,   FACT_CPU_MHZ,         FACT_CPU_MHZ_MIN};

const struct probe cpu_counters_probe = {
    .name = "cpu_counters",
    .state_bytes = sizeof(struct cpu_work),
    .fields = fields,
    .fields_count = ARRAY_COUNT(fields),
    .before_measured = before_measured,
    .look = look,
    .after_measured = after_measured,
    .put = put,
};
