/* store/record.h - one record: an ordered table of named, typed fields (docs/records.md).
 *
 * One list below drives the JSON line, the CSV header and row, the reader, and the documentation
 * test. The first fifteen fields are the published ones, in the published order and units.
 * Append only within a schema version. A field that was never set is `null` with reason
 * "not_measured"; record_set_null() gives a better reason. Reasons go to the `null_reasons` object.
 */
#ifndef STORE_RECORD_H
#define STORE_RECORD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/status.h"

#define RECORD_SCHEMA_VERSION 1
/* Longest JSON line, and longest CSV row (in which every quote of a JSON value is doubled). */
#define RECORD_LINE_BYTES_MAX (1U << 20)
#define RECORD_ROW_BYTES_MAX  (4U << 20)

/* X(id, name, type, unit, meaning) */
#define RECORD_FIELD_MAP(X)                                                                        \
    X(FRAMEWORK, "framework", STRING, "", "engine's name; NAME-sandbox for synthetic figures")     \
    X(DEVICE, "device", STRING, "", "device asked for and used")                                   \
    X(PRECISION, "precision", STRING, "", "precision asked for; what ran is in dtype_*")           \
    X(MODE, "mode", STRING, "", "train, infer or decode")                                          \
    X(SEQ_LEN, "seq_len", INTEGER, "tokens", "tokens per row; context length for decode")          \
    X(BATCH_SIZE, "batch_size", INTEGER, "rows", "rows per step")                                  \
    X(STEPS, "steps", INTEGER, "steps", "measured steps")                                          \
    X(TOKENS_PER_STEP, "tokens_per_step", INTEGER, "tokens", "tokens one step handles")            \
    X(MS_PER_STEP, "ms_per_step", DOUBLE, "ms", "mean: measured window / steps")                   \
    X(TOKENS_PER_SEC, "tokens_per_sec", DOUBLE, "tokens/s",                                        \
      "tokens of all measured steps / measured window")                                            \
    X(MEM_ALLOC_MB, "mem_alloc_mb", DOUBLE, "MiB", "held by the engine's allocator at the end")    \
    X(MEM_RESERVED_MB, "mem_reserved_mb", DOUBLE, "MiB",                                           \
      "taken from the system by that allocator")                                                   \
    X(PEAK_MEM_MB, "peak_mem_mb", DOUBLE, "MiB",                                                   \
      "allocator's peak on a device; on a CPU, growth of the worker's peak RSS")                   \
    X(PARAMS_MILLIONS, "params_millions", DOUBLE, "10^6", "all parameters")                        \
    X(NOTES, "notes", STRING, "", "for people")                                                    \
    X(SCHEMA, "schema", INTEGER, "", "version of this table")                                      \
    X(RUN_ID, "run_id", STRING, "", "one call of tokmark")                                         \
    X(CELL_ID, "cell_id", STRING, "", "content hash of what is measured")                          \
    X(POLICY_ID, "policy_id", STRING, "", "content hash of how long and how it is measured")       \
    X(TRIAL, "trial", INTEGER, "", "0-based; a fresh worker each")                                 \
    X(STARTED_AT, "started_at", STRING, "UTC", "ISO 8601")                                         \
    X(VERDICT, "verdict", STRING, "",                                                              \
      "ok, unsteady, invalid, unsupported, oom, timeout, crashed, protocol_error, interrupted")    \
    X(REASONS, "reasons", JSON, "", "array of {code, text, cure}")                                 \
    X(SYNTHETIC, "synthetic", BOOLEAN, "", "figures are made up, by the sandbox engine")           \
    X(ENGINE_VERSION, "engine_version", STRING, "", "the worker's own version text")               \
    X(SYNC, "sync", STRING, "", "step: every step is waited for; block: only the block's end")     \
    X(SAMPLES, "samples", INTEGER, "samples", "n behind the quantiles")                            \
    X(MS_P50, "ms_p50", DOUBLE, "ms", "median step")                                               \
    X(MS_P50_LOW, "ms_p50_low", DOUBLE, "ms", "95 % interval of the median, low end")              \
    X(MS_P50_HIGH, "ms_p50_high", DOUBLE, "ms", "95 % interval of the median, high end")           \
    X(MS_P90, "ms_p90", DOUBLE, "ms", "nearest rank; needs n >= 29")                               \
    X(MS_P95, "ms_p95", DOUBLE, "ms", "nearest rank; needs n >= 59")                               \
    X(MS_P99, "ms_p99", DOUBLE, "ms", "nearest rank; needs n >= 299")                              \
    X(MS_P999, "ms_p999", DOUBLE, "ms", "nearest rank; needs n >= 2995")                           \
    X(MS_MIN, "ms_min", DOUBLE, "ms", "fastest sample")                                            \
    X(MS_MAX, "ms_max", DOUBLE, "ms", "slowest sample")                                            \
    X(MS_STDDEV, "ms_stddev", DOUBLE, "ms", "sample standard deviation")                           \
    X(TOKENS_PER_SEC_LOW, "tokens_per_sec_low", DOUBLE, "tokens/s",                                \
      "tokens_per_step / ms_p50_high")                                                             \
    X(TOKENS_PER_SEC_HIGH, "tokens_per_sec_high", DOUBLE, "tokens/s",                              \
      "tokens_per_step / ms_p50_low")                                                              \
    X(WARMUP_STEPS, "warmup_steps", INTEGER, "steps", "steps before measuring")                    \
    X(WARMUP_MS, "warmup_ms", DOUBLE, "ms", "their time")                                          \
    X(WARMUP_STEADY, "warmup_steady", BOOLEAN, "",                                                 \
      "end of warm-up was detected (auto), not capped")                                            \
    X(FIRST_STEP_MS, "first_step_ms", DOUBLE, "ms", "first step of all")                           \
    X(START_MS, "start_ms", DOUBLE, "ms", "starting the worker, to its hello")                     \
    X(LOAD_MS, "load_ms", DOUBLE, "ms", "making or reading weights")                               \
    X(COMPILE_MS, "compile_ms", DOUBLE, "ms", "compiling, where there is any")                     \
    X(MODEL, "model", STRING, "", "preset or name")                                                \
    X(MODEL_SOURCE, "model_source", STRING, "", "preset, weights file, package, factory")          \
    X(MODEL_SPEC, "model_spec", JSON, "", "every figure of the model")                             \
    X(PARAMS_TOTAL, "params_total", INTEGER, "", "all parameters")                                 \
    X(PARAMS_ACTIVE, "params_active", INTEGER, "", "parameters that work on one token")            \
    X(STEP_FLOPS, "step_flops", DOUBLE, "FLOP", "model operations of one step (docs/metrics.md)")  \
    X(TOKENS_DATA, "tokens_data", STRING, "", "what the tokens are")                               \
    X(DATA_HASH, "data_hash", STRING, "", "hash of the data file's content")                       \
    X(WEIGHTS_HASH, "weights_hash", STRING, "", "hash of the weights file's content")              \
    X(SEED, "seed", INTEGER, "", "of weights, tokens and dropout")                                 \
    X(DTYPE_PARAM, "dtype_param", STRING, "", "precision of the weights, as the worker says")      \
    X(DTYPE_COMPUTE, "dtype_compute", STRING, "", "precision of products' inputs")                 \
    X(DTYPE_ACCUMULATE, "dtype_accumulate", STRING, "", "precision of products' sums")             \
    X(TF32, "tf32", BOOLEAN, "", "tf32 allowed in fp32 products")                                  \
    X(BACKEND, "backend", STRING, "", "which kernels")                                             \
    X(THREADS, "threads", INTEGER, "", "compute threads")                                          \
    X(MEM_PREDICTED_MB, "mem_predicted_mb", DOUBLE, "MiB", "said before anything was allocated")   \
    X(MEM_PARTS_MB, "mem_parts_mb", JSON, "MiB",                                                   \
      "{weights, gradients, optimizer, activations, kv_cache, workspace, other}")                  \
    X(MEM_NEEDED_BYTES, "mem_needed_bytes", INTEGER, "bytes", "oom: what the cell needs")          \
    X(MEM_AVAILABLE_BYTES, "mem_available_bytes", INTEGER, "bytes", "oom: what there was")         \
    X(RSS_PEAK_MB, "rss_peak_mb", DOUBLE, "MiB", "worker's peak RSS, growth since its hello")      \
    X(MAXRSS_MB, "maxrss_mb", DOUBLE, "MiB", "worker's peak RSS by its parent's rusage, absolute") \
    X(CPU_USER_S, "cpu_user_s", DOUBLE, "s", "worker's user time, whole life")                     \
    X(CPU_SYSTEM_S, "cpu_system_s", DOUBLE, "s", "worker's system time, whole life")               \
    X(CONTEXT_SWITCHES, "context_switches", INTEGER, "", "worker's involuntary context switches")  \
    X(LOSS_FIRST, "loss_first", DOUBLE, "nats", "loss at the end of the first measured block")     \
    X(LOSS_LAST, "loss_last", DOUBLE, "nats", "loss of the last measured step")                    \
    X(GRAD_NORM_LAST, "grad_norm_last", DOUBLE, "",                                                \
      "global gradient norm of the last measured step")                                            \
    X(NONFINITE, "nonfinite", INTEGER, "", "losses or norms that were not finite")                 \
    X(EXPERT_TOKENS, "expert_tokens", JSON, "tokens", "per expert, summed over layers and steps")  \
    X(EXPERT_IMBALANCE, "expert_imbalance", DOUBLE, "", "busiest expert's share / even share")     \
    X(WORKER_EXIT, "worker_exit", STRING, "", "how the worker ended: exit 0, signal 9 ...")        \
    X(LOG_TAIL, "log_tail", STRING, "", "last lines of its log, for failed cells")                 \
    X(HARNESS_MS, "harness_ms", DOUBLE, "ms",                                                      \
      "whole cell less worker start, load, compile, warm-up and measured windows")                 \
    X(ENVIRONMENT_ID, "environment_id", STRING, "", "fingerprint of machine and build")            \
    X(ENVIRONMENT, "environment", JSON, "", "machine and build (docs/records.md)")                 \
    X(HARNESS, "harness", STRING, "", "tokmark's version and commit")                              \
    X(COMMAND, "command", JSON, "", "argument vector of the call")                                 \
    X(DEVICE_MS_PER_STEP, "device_ms_per_step", DOUBLE, "ms",                                      \
      "mean by the device's own events; the host's is ms_per_step")                                \
    X(MEM_DEVICE_USED_MB, "mem_device_used_mb", DOUBLE, "MiB",                                     \
      "in use on the whole device at the end, whoever holds it")                                   \
    X(MEM_DEVICE_TOTAL_MB, "mem_device_total_mb", DOUBLE, "MiB", "memory of the device")           \
    X(TRACE_MS, "trace_ms", DOUBLE, "ms", "making the program that is compiled")                   \
    X(COMPILER_FLOPS, "compiler_flops", DOUBLE, "FLOP",                                            \
      "of one step as the compiler counts; beside step_flops")                                     \
    X(SAMPLES_EFFECTIVE, "samples_effective", DOUBLE, "samples",                                   \
      "independent samples that the samples are worth for the median")                             \
    X(LAG1, "lag1", DOUBLE, "", "autocorrelation of neighbouring samples")                         \
    X(MS_MEAN_LOW, "ms_mean_low", DOUBLE, "ms", "95 % interval of the samples' mean, low end")     \
    X(MS_MEAN_HIGH, "ms_mean_high", DOUBLE, "ms", "95 % interval of the samples' mean, high end")  \
    X(MS_P90_UPPER, "ms_p90_upper", DOUBLE, "ms", "the p90 is not over this, with 95 %")           \
    X(MS_P95_UPPER, "ms_p95_upper", DOUBLE, "ms", "the p95 is not over this, with 95 %")           \
    X(MS_P99_UPPER, "ms_p99_upper", DOUBLE, "ms", "the p99 is not over this, with 95 %")           \
    X(MS_P999_UPPER, "ms_p999_upper", DOUBLE, "ms", "the p99.9 is not over this, with 95 %")       \
    X(OUTLIERS, "outliers", INTEGER, "samples",                                                    \
      "beyond 1.5 interquartile ranges of the quartiles; labelled, never removed")                 \
    X(DRIFT_PERCENT, "drift_percent", DOUBLE, "%",                                                 \
      "median of the second half of the samples over that of the first, less 1")                   \
    X(DRIFT_PERCENT_LOW, "drift_percent_low", DOUBLE, "%", "95 % interval of that, low end")       \
    X(DRIFT_PERCENT_HIGH, "drift_percent_high", DOUBLE, "%", "95 % interval of that, high end")    \
    X(DRIFT_SLOPE_PERCENT, "drift_slope_percent", DOUBLE, "%",                                     \
      "Theil and Sen's slope from the first sample to the last, of the median")                    \
    X(HARNESS_OUTSIDE_MS, "harness_outside_ms", DOUBLE, "ms",                                      \
      "protocol and scheduling beside the measured windows")                                       \
    X(HARNESS_INSIDE_MS, "harness_inside_ms", DOUBLE, "ms",                                        \
      "measured windows less the sum of their steps")                                              \
    X(HARNESS_PERCENT, "harness_percent", DOUBLE, "%", "both, of the measured windows")            \
    X(HARNESS_CPU_PERCENT, "harness_cpu_percent", DOUBLE, "%",                                     \
      "tokmark's own processor time while the worker ran measured blocks, of their windows")       \
    X(PREPARE_MS, "prepare_ms", DOUBLE, "ms",                                                      \
      "making batches for the measured blocks, outside their windows")                             \
    X(OBSERVE_MS, "observe_ms", DOUBLE, "ms",                                                      \
      "reading losses and the like after measured blocks, outside their windows")                  \
    X(CHECK, "check", STRING, "", "newest `tokmark check` here: passed, reference or failed")      \
    X(FOREIGN_CPU_PERCENT, "foreign_cpu_percent", DOUBLE, "%",                                     \
      "of the cell's processors' time that others used or stole while it was measured")            \
    X(PACE_MS, "pace_ms", DOUBLE, "ms",                                                            \
      "a fixed chain of multiplications before or after measuring, whichever took longer")         \
    X(PACE_PERCENT, "pace_percent", DOUBLE, "%",                                                   \
      "the least known of it on this machine, of pace_ms")                                         \
    X(CPU_THROTTLES, "cpu_throttles", INTEGER, "",                                                 \
      "times that these processors were slowed down for their heat meanwhile")                     \
    X(SWEEP_POSITION, "sweep_position", INTEGER, "",                                               \
      "0-based place in the sweep, over all trials")                                               \
    X(SWEEP_ORDER, "sweep_order", STRING, "", "plan, or random: shuffled for each trial by seed")  \
    X(TRIALS_COUNT, "trials_count", INTEGER, "trials", "behind trials_*, this one included")       \
    X(TRIALS_MS, "trials_ms", DOUBLE, "ms", "geometric mean of the trials' medians")               \
    X(TRIALS_MS_LOW, "trials_ms_low", DOUBLE, "ms", "its 95 % interval between trials, low end")   \
    X(TRIALS_MS_HIGH, "trials_ms_high", DOUBLE, "ms", "the same, high end")                        \
    X(TRIALS_SPREAD_PERCENT, "trials_spread_percent", DOUBLE, "%",                                 \
      "standard deviation between trials")                                                         \
    X(TRIALS_RANGE_PERCENT, "trials_range_percent", DOUBLE, "%", "slowest trial over fastest")     \
    X(SENTINEL_CHANGE_PERCENT, "sentinel_change_percent", DOUBLE, "%",                             \
      "newest measurement of the sweep's sentinel against its first")                              \
    X(SENTINEL_CHANGE_LOW, "sentinel_change_low", DOUBLE, "%", "its 95 % interval, low end")       \
    X(SENTINEL_CHANGE_HIGH, "sentinel_change_high", DOUBLE, "%", "the same, high end")             \
    X(HISTORY_ID, "history_id", STRING, "", "equal for runs of the same thing on this machine")    \
    X(HISTORY_RUNS, "history_runs", INTEGER, "runs", "behind history_*, this one included")        \
    X(HISTORY_MS, "history_ms", DOUBLE, "ms", "geometric mean of the runs' medians")               \
    X(HISTORY_MS_LOW, "history_ms_low", DOUBLE, "ms", "its 95 % interval between runs, low end")   \
    X(HISTORY_MS_HIGH, "history_ms_high", DOUBLE, "ms", "the same, high end")                      \
    X(HISTORY_SPREAD_PERCENT, "history_spread_percent", DOUBLE, "%",                               \
      "standard deviation between runs")                                                           \
    X(HISTORY_RANGE_PERCENT, "history_range_percent", DOUBLE, "%", "slowest run over fastest")

enum record_field {
#define X(id, name, type, unit, meaning) RECORD_##id,
    RECORD_FIELD_MAP(X)
#undef X
        RECORD_FIELDS_COUNT
};

enum record_type {
    RECORD_TYPE_STRING,
    RECORD_TYPE_INTEGER,
    RECORD_TYPE_DOUBLE,
    RECORD_TYPE_BOOLEAN,
    RECORD_TYPE_JSON
};

struct record; /* opaque */

const char *record_field_name(enum record_field field);
enum record_type record_field_type(enum record_field field);
const char *record_field_unit(enum record_field field);
const char *record_field_meaning(enum record_field field);

/* NULL only when memory ends. record_free(NULL) is a no-op. */
struct record *record_new(void);
void record_free(struct record *record);

/* Copies its text (bytes that are not UTF-8 become U+FFFD). The field's type must match (ASSERT). A
 * double that is not finite becomes null with reason "not_finite", an integer over 2^63 - 1, which
 * JSON readers refuse, null with its digits in the reason. Where memory ends the field becomes null
 * with reason "out_of_memory". */
void record_set_string(struct record *record, enum record_field field, const char *text);
void record_set_u64(struct record *record, enum record_field field, uint64_t value);
void record_set_double(struct record *record, enum record_field field, double value);
void record_set_bool(struct record *record, enum record_field field, bool value);
/* `json`: one JSON value, stored compactly; text that is none, or nests more than JSON_DEPTH_MAX
 * deep, becomes null with reason "invalid_json", so that no caller can spoil a line. */
void record_set_json(struct record *record, enum record_field field, const char *json);
/* `reason`: a snake_case word or a short sentence; copied. */
void record_set_null(struct record *record, enum record_field field, const char *reason);

bool record_is_null(const struct record *record, enum record_field field);
/* Why it is null; "" when it is not. Borrowed. */
const char *record_null_reason(const struct record *record, enum record_field field);
/* Of a field that is set and of that type; "" / 0 / NaN / false otherwise. Borrowed.
 * record_string() also gives the text of a JSON field. */
const char *record_string(const struct record *record, enum record_field field);
uint64_t record_u64(const struct record *record, enum record_field field);
double record_double(const struct record *record, enum record_field field);
bool record_bool(const struct record *record, enum record_field field);

/* One line with '\n'. JSON: every field in order, then `null_reasons`. CSV: RFC 4180, LF line ends,
 * numbers as in the JSON, null empty, JSON-typed fields as quoted compact JSON. */
void record_format_json(const struct record *record, struct buf *out);
void record_format_csv(const struct record *record, struct buf *out);
void record_format_csv_header(struct buf *out);
/* STATUS_INVALID for a line that is not an object with our schema, or has a field of another type.
 * Unknown keys are ignored; a field that the line lacks is null with reason "not_recorded".
 * Formatting what was parsed gives the bytes that were formatted. */
MUST_CHECK enum status record_parse_json(const char *line, size_t line_bytes,
                                         struct record **ret_record, struct err *err);

#endif
