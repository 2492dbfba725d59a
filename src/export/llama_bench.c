/* llama-bench's JSON: for llama.cpp's compare-llama-bench.py, which joins two files by every key of
 * a test and compares tokens/s.
 *
 *   n_prompt   `seq_len` of infer; 0 of decode        n_gen     1 of decode, a token a step
 *   n_depth    of decode `seq_len` - 1, the cached    n_batch   `tokens_per_step`
 *   avg_ts     `tokens_per_sec`                       avg_ns    `ms_per_step`, of a step
 *   build_commit   `run_id`: the two sides that -b and -c name
 */
#include <string.h>

#include "base/clock.h"
#include "base/json_write.h"
#include "export/exporter.h"
#include "export/identity.h"
#include "export/origin.h"

#define TEXT_BYTES_MAX (8 * (size_t)RECORD_LINE_BYTES_MAX)
#define ALL_LAYERS     99

static enum status begin(struct export *export, struct err *err)
{
    (void)err;
    buf_append_char(&export->text, '[');
    return STATUS_OK;
}

/* What llama-bench has and we have not. The script joins by these, so that none may be null. */
static void put_settings(const struct record *record, struct json_writer *writer)
{
    json_field_string(writer, "cpu_mask", "0x0");
    json_field_bool(writer, "cpu_strict", false);
    json_field_u64(writer, "poll", 0);
    json_field_u64(writer, "n_gpu_layers", origin_is_cpu(record) ? 0 : ALL_LAYERS);
    json_field_string(writer, "split_mode", "none");
    json_field_u64(writer, "main_gpu", 0);
    json_field_bool(writer, "no_kv_offload", false);
    json_field_bool(writer, "flash_attn", false);
    json_field_string(writer, "tensor_split", "0.00");
    json_field_string(writer, "tensor_buft_overrides", "none");
    json_field_bool(writer, "use_mmap", false);
    json_field_bool(writer, "embeddings", false);
    json_field_u64(writer, "no_op_offload", 0);
}

static void put_model(const struct record *record, struct buf *text, struct json_writer *writer)
{
    const char *model = record_string(record, FACT_MODEL);
    const char *precision = record_string(record, FACT_PRECISION);
    /* The cell's hash tells apart what the script has no key for, such as data and weights. */
    json_field_string(writer, "model_filename", record_string(record, FACT_CELL_ID));
    buf_reset(text);
    buf_appendf(text, "%s %s", model, precision);
    json_field_string(writer, "model_type", text->data);
    if (!record_is_null(record, FACT_PARAMS_TOTAL))
        json_field_u64(writer, "model_n_params", record_u64(record, FACT_PARAMS_TOTAL));
    json_field_string(writer, "type_k", precision);
    json_field_string(writer, "type_v", precision);
}

static void put_times(const struct record *record, struct json_writer *writer)
{
    double step_ms = 0;
    double rate = 0;
    double deviation_ms = 0;
    (void)export_number(record, FACT_MS_PER_STEP, &step_ms);
    (void)export_number(record, FACT_TOKENS_PER_SEC, &rate);
    (void)export_number(record, FACT_MS_STDDEV, &deviation_ms);
    json_field_double(writer, "avg_ns", step_ms * (double)NS_PER_MS);
    json_field_double(writer, "stddev_ns", deviation_ms * (double)NS_PER_MS);
    json_field_double(writer, "avg_ts", rate);
    /* That of a reciprocal, to first order. */
    json_field_double(writer, "stddev_ts", step_ms > 0 ? rate * deviation_ms / step_ms : 0);
}

static void append_entry(const struct record *record, struct buf *text, struct buf *out)
{
    struct origin origin = origin_of(record);
    struct json_writer writer;
    bool is_decode = strcmp(record_string(record, FACT_MODE), "decode") == 0;
    uint64_t seq_len = record_u64(record, FACT_SEQ_LEN);
    const char *started_at = record_string(record, FACT_STARTED_AT);
    json_writer_init(&writer, out);
    json_begin_object(&writer);
    json_field_string(&writer, "build_commit", record_string(record, FACT_RUN_ID));
    json_field_u64(&writer, "build_number", 0);
    json_field_string(&writer, "cpu_info", origin.cpu);
    json_field_string(&writer, "gpu_info",
                      origin_is_cpu(record) ? "" : record_string(record, FACT_DEVICE_NAME));
    json_field_string(&writer, "backends", record_string(record, FACT_FRAMEWORK));
    put_model(record, text, &writer);
    json_field_u64(&writer, "n_batch", record_u64(record, FACT_TOKENS_PER_STEP));
    json_field_u64(&writer, "n_ubatch", record_u64(record, FACT_TOKENS_PER_STEP));
    json_field_u64(&writer, "n_threads", record_u64(record, FACT_THREADS));
    put_settings(record, &writer);
    json_field_u64(&writer, "n_prompt", is_decode ? 0 : seq_len);
    json_field_u64(&writer, "n_gen", is_decode ? 1 : 0);
    json_field_u64(&writer, "n_depth", is_decode && seq_len > 0 ? seq_len - 1 : 0);
    /* Without the milliseconds, as llama-bench writes it. */
    buf_reset(text);
    buf_append(text, started_at, strcspn(started_at, ".Z"));
    buf_appendf(text, "%s", started_at[0] != '\0' ? "Z" : "");
    json_field_string(&writer, "test_time", text->data);
    put_times(record, &writer);
    json_end_object(&writer);
}

static enum status add(struct export *export, const struct export_item *item, struct err *err)
{
    const char *mode = record_string(item->record, FACT_MODE);
    struct buf text CLEANUP(buf_release) = {0};
    bool has_run = !record_is_null(item->record, FACT_RUN_ID);
    if (!has_run || (strcmp(mode, "infer") != 0 && strcmp(mode, "decode") != 0)) {
        export->counts.records--;
        export->counts.unfit++;
        return STATUS_OK;
    }
    buf_init(&text, TEXT_BYTES_MAX);
    buf_append_text(&export->text, export->counts.records == 1 ? "\n" : ",\n");
    append_entry(item->record, &text, &export->text);
    return export_flush(export, false, err);
}

static enum status end(struct export *export, struct err *err)
{
    (void)err;
    buf_append_text(&export->text, "\n]\n");
    return STATUS_OK;
}

static const enum fact_id needs[] = {FACT_MS_PER_STEP,  FACT_TOKENS_PER_SEC, FACT_MS_STDDEV,
                                     FACT_ENVIRONMENT,  FACT_DEVICE_NAME,    FACT_THREADS,
                                     FACT_PARAMS_TOTAL, FACT_TOKENS_PER_STEP};

const struct exporter exporter_llama_bench = {
    .name = "llama-bench",
    .says = "llama-bench's JSON: llama.cpp's `compare-llama-bench.py -i old.json -i new.json`",
    .leaves_out = "training, which llama-bench does not measure; records without a run_id; raw "
                  "samples; settings that tokmark has not are llama-bench's zeros",
    .fields = "",
    .places = EXPORT_TO_STREAM,
    .needs = needs,
    .needs_count = ARRAY_COUNT(needs),
    .begin = begin,
    .add = add,
    .end = end,
};
