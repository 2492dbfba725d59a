/* observe/gpu_clocks.h - fields of a record: what the card did while a cell was measured. */
#ifndef OBSERVE_GPU_CLOCKS_H
#define OBSERVE_GPU_CLOCKS_H

#include "result/record.h"
#include "spec/verdict.h"
#include "telemetry/gpu_watch.h"

#define GPU_CLOCKS_FIELDS                                                              \
    FACT_GPU_SM_MHZ, FACT_GPU_SM_MHZ_MIN, FACT_GPU_MEMORY_MHZ, FACT_GPU_TEMPERATURE_C, \
        FACT_GPU_THROTTLE, FACT_GPU_SAMPLES, FACT_GPU_SAMPLE_GAP_MS, FACT_GPU_USED_MB, \
        FACT_GPU_PROCESS_MB, FACT_GPU_OTHER_PROCESSES

/* All of GPU_CLOCKS_FIELDS; `missing`: why there are no totals, or NULL. */
void gpu_clocks_put(const struct gpu_totals *totals, const char *missing, struct record *record);
/* Of a card that was too hot, or had others on it. */
void gpu_clocks_judge(const struct gpu_totals *totals, struct judgement *judgement);

#endif
