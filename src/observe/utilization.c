/* observe/utilization.c - how near to what the machine can do at best (`tokmark peak`, and the
 * datasheet) was the measured work? Formulas: docs/machine.md.
 */
#include <math.h>
#include <string.h>

#include "client/provenance.h"
#include "observe/list.h"
#include "spec/device.h"
#include "spec/flops.h"
#include "telemetry/datasheet.h"

static const char no_peak[] = "run_tokmark_peak";

/* Bytes of an element of the type that is named first; 0 = not known. */
static double width_of(const char *types)
{
    static const struct {
        const char *name;
        double bytes;
    } widths[] = {{"fp32", 4}, {"tf32", 4}, {"bf16", 2}, {"fp16", 2}, {"fp64", 8}};
    for (size_t i = 0; i < ARRAY_COUNT(widths); i++)
        if (strncmp(types, widths[i].name, strlen(widths[i].name)) == 0)
            return widths[i].bytes;
    return 0;
}

/* Of our shape, whoever wrote it. */
static bool is_of_preset(const struct client *client)
{
    return provenance_is_preset(client->cell) &&
           (client->ready.params_total == 0 ||
            client->ready.params_total == model_params_total(&client->cell->model));
}

/* FLOP of a step; 0 = not known. Of a user's own model by who has seen it run. */
static double work_of(const struct client *client, enum flops_count count)
{
    if (is_of_preset(client))
        return flops_step(client->cell, count);
    return client->ready.counted_flops > 0 ? client->ready.counted_flops
                                           : fmax(client->ready.compiler_flops, 0);
}

/* NULL, or why the cell's work is not known. */
static const char *why_no_work(const struct observed *seen)
{
    if (client_is_synthetic(seen->client))
        return "synthetic";
    if (seen->summary == NULL)
        return "not_measured";
    if (!(work_of(seen->client, FLOPS_MODEL) > 0))
        return "model_of_its_own";
    return seen->summary->mean_ns > 0 ? NULL : "below_the_clock";
}

/* Devices that share the work of a step. Processes on the CPUs share one machine. */
static uint32_t sharers(const struct observed *seen)
{
    const char *device = seen->client->cell->device;
    return device_is_host(device) ? 1 : device_count(device);
}

/* What each of them does. */
static double per_second(const struct observed *seen, double a_step)
{
    return a_step * 1e9 / seen->summary->mean_ns / sharers(seen);
}

static struct machine_peak find_peak(const struct observed *seen)
{
    struct machine_peak peak = {0};
    const struct observe_options *options = seen->options;
    const struct cell *cell = seen->client->cell;
    char device[DEVICE_NAME_BYTES];
    device_first(cell->device, device);
    if (options->peaks != NULL)
        machine_book_peak(options->peaks, options->hardware_id, device, flops_unit(cell->precision),
                          &peak);
    return peak;
}

/* More than can be done is not done: the work, the clock or the peak is not what it is said to be.
 */
static void judge(const void *state, const struct observed *seen, struct judgement *judgement)
{
    (void)state;
    if (why_no_work(seen) != NULL)
        return;
    struct machine_peak peak = find_peak(seen);
    double most = fmax(peak.matmul_flops, peak.fma_flops);
    double flops = 0, bytes = 0;
    /* A short cell runs at clocks that the power limit does not let a peak be measured at. */
    if (most > 0 && datasheet_find(seen->client->ready.device_name,
                                   flops_unit(seen->client->cell->precision), &flops, &bytes))
        most = fmax(most, flops);
    double done = per_second(seen, work_of(seen->client, FLOPS_CAUSAL));
    if (most > 0 && done > most)
        judgement_add(judgement, VERDICT_INVALID, "over_peak",
                      "%.4g FLOP/s by the model's own work: %.1f %% of the %.4g that this device "
                      "can do (tokmark peak, datasheet)",
                      done, 100 * done / most, most);
}

static void put_flops(const struct observed *seen, double measured, double datasheet,
                      const char *no_datasheet, struct record *record)
{
    const char *no_work = why_no_work(seen);
    const char *missing = no_work != NULL ? no_work : measured > 0 ? NULL : no_peak;
    double model = no_work == NULL ? per_second(seen, work_of(seen->client, FLOPS_MODEL)) : 0;
    double causal = no_work == NULL ? per_second(seen, work_of(seen->client, FLOPS_CAUSAL)) : 0;
    double executed = no_work == NULL ? per_second(seen, work_of(seen->client, FLOPS_EXECUTED)) : 0;
    record_put_double(record, FACT_MFU_PERCENT, 100 * model / measured, missing);
    record_put_double(record, FACT_MFU_CAUSAL_PERCENT, 100 * causal / measured, missing);
    record_put_double(record, FACT_HFU_PERCENT, 100 * executed / measured, missing);
    record_put_double(record, FACT_PEAK_FLOPS, measured, measured > 0 ? NULL : no_peak);
    record_put_double(record, FACT_MFU_DATASHEET_PERCENT, 100 * model / datasheet,
                      no_work != NULL ? no_work : no_datasheet);
    record_put_double(record, FACT_DATASHEET_FLOPS, datasheet, no_datasheet);
}

static void put_bytes(const struct observed *seen, double measured, double datasheet,
                      const char *no_datasheet, struct record *record)
{
    const struct proto_ready *ready = &seen->client->ready;
    double weight_bytes = width_of(ready->dtype_param);
    double cache_bytes = width_of(ready->dtype_compute);
    double bytes = 0;
    const char *missing = why_no_work(seen);
    if (missing == NULL && !is_of_preset(seen->client))
        missing = "model_of_its_own";
    else if (missing == NULL && seen->client->cell->mode != CELL_MODE_DECODE)
        missing = "not_decode";
    else if (missing == NULL && (weight_bytes == 0 || cache_bytes == 0))
        missing = "dtype_not_known";
    else if (missing == NULL && sharers(seen) > 1)
        missing = "several_devices"; /* which bytes each of them reads depends on the layout */
    if (missing == NULL) {
        (void)flops_decode_bytes(seen->client->cell, weight_bytes, cache_bytes, &bytes);
        bytes = per_second(seen, bytes);
    }
    record_put_double(record, FACT_BANDWIDTH_PERCENT, 100 * bytes / measured,
                      missing != NULL ? missing
                      : measured > 0  ? NULL
                                      : no_peak);
    record_put_double(record, FACT_PEAK_BYTES, measured, measured > 0 ? NULL : no_peak);
    record_put_double(record, FACT_BANDWIDTH_DATASHEET_PERCENT, 100 * bytes / datasheet,
                      missing != NULL ? missing : no_datasheet);
}

static void put(const void *state, const struct observed *seen, struct record *record)
{
    (void)state;
    const struct client *client = seen->client;
    struct machine_peak peak = find_peak(seen);
    double flops = 0;
    double bytes = 0;
    bool is_known = datasheet_find(client->ready.device_name, flops_unit(client->cell->precision),
                                   &flops, &bytes);
    const char *no_sheet = device_is_host(client->cell->device) ? "on_cpu"
                           : !is_known                          ? "not_in_table"
                                                                : NULL;
    put_flops(seen, peak.matmul_flops, flops,
              no_sheet == NULL && flops == 0 ? "not_in_table" : no_sheet, record);
    put_bytes(seen, peak.read_bytes, bytes, no_sheet, record);
}

static const enum fact_id fields[] = {FACT_MFU_PERCENT,
                                      FACT_MFU_CAUSAL_PERCENT,
                                      FACT_HFU_PERCENT,
                                      FACT_PEAK_FLOPS,
                                      FACT_MFU_DATASHEET_PERCENT,
                                      FACT_DATASHEET_FLOPS,
                                      FACT_BANDWIDTH_PERCENT,
                                      FACT_PEAK_BYTES,
                                      FACT_BANDWIDTH_DATASHEET_PERCENT};

const struct probe utilization_probe = {
    .name = "utilization",
    .fields = fields,
    .fields_count = ARRAY_COUNT(fields),
    .judge = judge,
    .put = put,
};
