/* PyTorch's OSS benchmark database, records of version 3: a list of one entry a metric and record.
 * What says which commit and job it is of (repo, head_sha, workflow_id, job_id ...) is added by the
 * uploading action. */
#include <string.h>

#include "base/clock.h"
#include "base/json_write.h"
#include "export/exporter.h"
#include "export/identity.h"
#include "export/origin.h"

#define TEXT_BYTES_MAX   (8 * (size_t)RECORD_LINE_BYTES_MAX)
#define PREFIX_BYTES_MAX (64 * (size_t)RECORD_LINE_BYTES_MAX)

/* Values of a map of texts: numbers are texts there, too. */
static const enum fact_id extra_fields[] = {
    FACT_FRAMEWORK, FACT_DEVICE, FACT_MODE,   FACT_SEQ_LEN, FACT_BATCH_SIZE,     FACT_THREADS,
    FACT_CELL_ID,   FACT_TRIAL,  FACT_RUN_ID, FACT_VERDICT, FACT_ENVIRONMENT_ID, FACT_HARNESS};

static enum status begin(struct export *export, struct err *err)
{
    (void)err;
    buf_append_char(&export->text, '[');
    return STATUS_OK;
}

static void put_extra(const struct record *record, struct buf *value, struct json_writer *writer)
{
    json_put_key(writer, "extra_info");
    json_begin_object(writer);
    for (size_t i = 0; i < ARRAY_COUNT(extra_fields); i++) {
        if (record_is_null(record, extra_fields[i]))
            continue;
        buf_reset(value);
        identity_append_value(record, extra_fields[i], value);
        json_field_string(writer, fact_of(extra_fields[i])->name, value->data);
    }
    json_end_object(writer);
}

static void put_benchmark(const struct record *record, struct buf *value,
                          struct json_writer *writer)
{
    const char *mode = record_string(record, FACT_MODE);
    json_put_key(writer, "benchmark");
    json_begin_object(writer);
    json_field_string(writer, "name", "tokmark");
    /* The database knows two modes; the third is told in extra_info. */
    json_field_string(writer, "mode", strcmp(mode, "train") == 0 ? "training" : "inference");
    json_field_string(writer, "dtype", record_string(record, FACT_PRECISION));
    put_extra(record, value, writer);
    json_end_object(writer);
}

static void put_model(const struct record *record, struct json_writer *writer)
{
    json_put_key(writer, "model");
    json_begin_object(writer);
    json_field_string(writer, "name", record_string(record, FACT_MODEL));
    json_field_string(writer, "type", "transformer");
    json_field_string(writer, "backend", record_string(record, FACT_BACKEND));
    json_put_key(writer, "origins");
    json_begin_array(writer);
    json_put_string(writer, "tokmark");
    json_end_array(writer);
    json_end_object(writer);
}

static void put_runner(const struct record *record, struct json_writer *writer)
{
    struct origin origin = origin_of(record);
    json_put_key(writer, "runners");
    json_begin_array(writer);
    json_begin_object(writer);
    json_field_string(writer, "cpu_info", origin.cpu);
    if (origin.cpus_usable > 0)
        json_field_u64(writer, "cpu_count", origin.cpus_usable);
    if (origin.memory_bytes > 0)
        json_field_u64(writer, "avail_mem_in_gb", origin.memory_bytes >> 30);
    if (!origin_is_cpu(record)) {
        json_field_string(writer, "gpu_info", record_string(record, FACT_DEVICE_NAME));
        json_field_u64(writer, "gpu_count", 1);
    }
    json_end_object(writer);
    json_end_array(writer);
}

static void put_dependency(const struct record *record, struct json_writer *writer)
{
    const char *version = record_string(record, FACT_ENGINE_VERSION);
    if (version[0] == '\0')
        return;
    json_put_key(writer, "dependencies");
    json_begin_object(writer);
    json_put_key(writer, record_string(record, FACT_FRAMEWORK));
    json_begin_object(writer);
    json_field_string(writer, "version", version);
    json_end_object(writer);
    json_end_object(writer);
}

static void put_metric(enum fact_id field, double value, struct json_writer *writer)
{
    json_put_key(writer, "metric");
    json_begin_object(writer);
    json_field_string(writer, "name", fact_of(field)->name);
    json_put_key(writer, "benchmark_values");
    json_begin_array(writer);
    json_put_double(writer, value);
    json_end_array(writer);
    json_put_key(writer, "extra_info");
    json_begin_object(writer);
    json_field_string(writer, "unit", fact_of(field)->unit);
    json_field_string(writer, "better", fact_better_name(fact_of(field)->better));
    json_end_object(writer);
    json_end_object(writer);
}

/* The entry without its metric: the same for all of a record's. */
static struct json_writer start_entry(const struct record *record, struct buf *value,
                                      struct buf *out)
{
    struct json_writer writer;
    uint64_t measured_ns = 0;
    json_writer_init(&writer, out);
    json_begin_object(&writer);
    if (clock_stamp_ns(record_string(record, FACT_STARTED_AT), &measured_ns))
        json_field_u64(&writer, "timestamp", measured_ns / NS_PER_S);
    json_field_string(&writer, "schema_version", "v3");
    json_field_string(&writer, "name", "tokmark");
    put_runner(record, &writer);
    put_benchmark(record, value, &writer);
    put_model(record, &writer);
    put_dependency(record, &writer);
    return writer;
}

static enum status add(struct export *export, const struct export_item *item, struct err *err)
{
    struct buf value CLEANUP(buf_release) = {0};
    struct buf prefix CLEANUP(buf_release) = {0};
    bool is_first = export->counts.records == 1;
    buf_init(&value, TEXT_BYTES_MAX);
    buf_init(&prefix, PREFIX_BYTES_MAX);
    const struct json_writer start = start_entry(item->record, &value, &prefix);
    for (size_t i = 0; i < export->fields_count; i++) {
        struct json_writer writer = start;
        double number;
        if (!export_number(item->record, export->fields[i], &number))
            continue;
        buf_append_text(&export->text, is_first ? "\n" : ",\n");
        is_first = false;
        buf_append(&export->text, prefix.data, prefix.length_bytes);
        writer.out = &export->text;
        put_metric(export->fields[i], number, &writer);
        json_end_object(&writer);
    }
    return prefix.failed ? ERR(err, STATUS_NOMEM, "no memory for a record")
                         : export_flush(export, false, err);
}

static enum status end(struct export *export, struct err *err)
{
    (void)err;
    buf_append_text(&export->text, "\n]\n");
    return STATUS_OK;
}

static const enum fact_id needs[] = {FACT_BACKEND,     FACT_ENVIRONMENT,    FACT_ENGINE_VERSION,
                                     FACT_DEVICE_NAME, FACT_ENVIRONMENT_ID, FACT_HARNESS,
                                     FACT_THREADS};

const struct exporter exporter_pytorch_benchmark = {
    .name = "pytorch-benchmark",
    .says = "records v3 of PyTorch's OSS benchmark database, for its upload action",
    .leaves_out = "commit and job, which the action adds; raw samples; cells that failed; the "
                  "database holds 32 bits of a value",
    .fields = "tokens_per_sec ms_p50 peak_mem_mb",
    .places = EXPORT_TO_STREAM,
    .needs = needs,
    .needs_count = ARRAY_COUNT(needs),
    .begin = begin,
    .add = add,
    .end = end,
};
