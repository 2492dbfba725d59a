#include "observe/gpu_clocks.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/json_write.h"
#include "base/num.h"

#define THROTTLE_BYTES_MAX 1024
#define MIB                1048576.0

static const enum fact_id fields[] = {GPU_CLOCKS_FIELDS};

enum series_value { SERIES_MEAN, SERIES_MIN, SERIES_MAX };

static void put_series(const struct gpu_series *series, enum series_value which, double unit,
                       enum fact_id field, struct record *record)
{
    if (series->count == 0) {
        record_set_null(record, field, series->missing != NULL ? series->missing : "too_short");
        return;
    }
    double value = which == SERIES_MIN   ? series->min
                   : which == SERIES_MAX ? series->max
                                         : series->sum / (double)series->count;
    record_set_double(record, field, value / unit);
}

/* {"sw_power_cap":12.5}: in how many of the samples, in %. */
static void put_throttle(const struct gpu_totals *totals, struct record *record)
{
    if (totals->throttles_counted == 0) {
        record_set_null(record, FACT_GPU_THROTTLE,
                        totals->throttle_missing != NULL ? totals->throttle_missing : "too_short");
        return;
    }
    struct buf text;
    struct json_writer writer;
    buf_init(&text, THROTTLE_BYTES_MAX);
    json_writer_init(&writer, &text);
    json_begin_object(&writer);
    for (unsigned bit = 0; bit < GPU_THROTTLES_COUNT; bit++)
        if (totals->throttles[bit] > 0)
            json_field_double(&writer, gpu_throttle_name(bit),
                              100 * (double)totals->throttles[bit] /
                                  (double)totals->throttles_counted);
    json_end_object(&writer);
    record_set_json(record, FACT_GPU_THROTTLE, text.data);
    buf_release(&text);
}

void gpu_clocks_put(const struct gpu_totals *totals, const char *missing, struct record *record)
{
    if (missing != NULL) {
        for (size_t i = 0; i < ARRAY_COUNT(fields); i++)
            record_set_null(record, fields[i], missing);
        return;
    }
    put_series(&totals->sm_mhz, SERIES_MEAN, 1, FACT_GPU_SM_MHZ, record);
    put_series(&totals->sm_mhz, SERIES_MIN, 1, FACT_GPU_SM_MHZ_MIN, record);
    put_series(&totals->memory_mhz, SERIES_MEAN, 1, FACT_GPU_MEMORY_MHZ, record);
    put_series(&totals->temperature_c, SERIES_MAX, 1, FACT_GPU_TEMPERATURE_C, record);
    put_throttle(totals, record);
    record_set_u64(record, FACT_GPU_SAMPLES, totals->samples_count);
    record_set_double(record, FACT_GPU_SAMPLE_GAP_MS, (double)totals->gap_max_ns / 1e6);
    put_series(&totals->used_bytes, SERIES_MAX, MIB, FACT_GPU_USED_MB, record);
    put_series(&totals->process_bytes, SERIES_MAX, MIB, FACT_GPU_PROCESS_MB, record);
    if (totals->others.count > 0)
        record_set_u64(record, FACT_GPU_OTHER_PROCESSES, (uint64_t)totals->others.max);
    else
        record_set_null(record, FACT_GPU_OTHER_PROCESSES,
                        totals->others.missing != NULL ? totals->others.missing : "too_short");
}

/* A limit on power is how such a card works under full load; heat and brakes are faults. */
void gpu_clocks_judge(const struct gpu_totals *totals, struct judgement *judgement)
{
    static const unsigned faults[] = {3, 5, 6, 7};
    for (size_t i = 0; i < ARRAY_COUNT(faults); i++)
        if (totals->throttles[faults[i]] > 0)
            judgement_warn(judgement, "throttled",
                           "the card was slowed down (%s) in %" PRIu64 " of %" PRIu64 " sample%s",
                           gpu_throttle_name(faults[i]), totals->throttles[faults[i]],
                           totals->throttles_counted, num_plural(totals->throttles_counted));
    if (totals->others.count > 0 && totals->others.max > 0)
        judgement_warn(judgement, "gpu_shared",
                       "others had work on the card while the cell was measured (%.0f beside it)",
                       totals->others.max);
}
