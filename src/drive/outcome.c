
#include "drive/outcome.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/version.h"
#include "client/provenance.h"
#include "spec/device.h"
#include "spec/flops.h"

#define MIB            1048576.0
#define JSON_BYTES_MAX (64 * 1024)
#define NOT_REPORTED   "not_reported"

/* --- what the samples say --- */

enum status outcome_summarize(struct trial *trial, struct err *err)
{
    const struct measure_state *state = &trial->measure;
    /* Where not one block was undisturbed, the others are what there is. */
    bool is_clean = state->steady.count > 0;
    const struct measure_samples *samples = is_clean ? &state->steady : &state->aside;
    struct measure_summary *summary = &trial->summary;
    if (samples->count == 0)
        return STATUS_OK;
    enum status status =
        measure_summarize(samples->values, samples->count,
                          is_clean ? state->steady_steps_done : state->aside_steps_done,
                          is_clean ? state->steady_ns : state->aside_ns,
                          cell_tokens_per_step(trial->cell), summary, err);
    if (status != STATUS_OK)
        return status;
    status = drift_of(samples->values, samples->count, trial->options->drift_limit_percent,
                      &trial->drift, err);
    trial->has_summary = status == STATUS_OK;
    return status;
}

/* --- the record, part by part --- */

static bool is_synthetic(const struct trial *trial)
{
    return client_is_synthetic(&trial->client);
}

struct observed trial_observed(const struct trial *trial)
{
    return (struct observed){
        .options = &trial->options->observe,
        .client = &trial->client,
        .cell_id = trial->cell_id,
        .summary = trial->has_summary ? &trial->summary : NULL,
        .interference = &trial->interference,
        .is_sync_per_block = trial->options->policy.is_sync_per_block,
    };
}

static void set_text(struct record *record, enum fact_id field, const char *text,
                     const char *why_not)
{
    if (text != NULL && text[0] != '\0')
        record_set_string(record, field, text);
    else
        record_set_null(record, field, why_not);
}

static void set_u64(struct record *record, enum fact_id field, bool is_known, uint64_t value,
                    const char *why_not)
{
    if (is_known)
        record_set_u64(record, field, value);
    else
        record_set_null(record, field, why_not);
}

static void set_double(struct record *record, enum fact_id field, bool is_known, double value,
                       const char *why_not)
{
    if (is_known && isfinite(value))
        record_set_double(record, field, value);
    else
        record_set_null(record, field, why_not);
}

static void set_bool(struct record *record, enum fact_id field, bool is_known, bool value,
                     const char *why_not)
{
    if (is_known)
        record_set_bool(record, field, value);
    else
        record_set_null(record, field, why_not);
}

static void set_json(struct record *record, enum fact_id field, const char *json,
                     const char *why_not)
{
    if (json != NULL && json[0] != '\0')
        record_set_json(record, field, json);
    else
        record_set_null(record, field, why_not);
}

/* Why something that only a worker past a certain point knows is not there. */
static const char *why_missing(const struct trial *trial)
{
    return trial->judgement.verdict == VERDICT_OK ? "not_measured"
                                                  : verdict_name(trial->judgement.verdict);
}

/* "NAME-sandbox", whoever made the results up. */
static void put_framework(const struct trial *trial, struct record *record)
{
    const char *name =
        trial->cell->framework[0] != '\0' ? trial->cell->framework : trial->cell->engine;
    char text[CELL_FRAMEWORK_BYTES + 16];
    bool is_marked = strstr(name, "sandbox") != NULL;
    (void)snprintf(text, sizeof(text), "%s%s", name,
                   is_synthetic(trial) && !is_marked ? "-sandbox" : "");
    record_set_string(record, FACT_FRAMEWORK, text);
}

static void put_notes(const struct trial *trial, struct record *record)
{
    char notes[PROTO_TEXT_BYTES + REASON_TEXT_BYTES + 8];
    const char *own = trial->client.has_ready ? trial->client.ready.notes : "";
    const char *reason =
        trial->judgement.reasons.count > 0 ? trial->judgement.reasons.items[0].text : "";
    (void)snprintf(notes, sizeof(notes), "%s%s%s", own,
                   own[0] != '\0' && reason[0] != '\0' ? "; " : "", reason);
    record_set_string(record, FACT_NOTES, notes);
}

/* How a step is trained. */
static void put_training(const struct cell *cell, struct record *record)
{
    if (cell->mode != CELL_MODE_TRAIN) {
        record_set_null(record, FACT_RECOMPUTE, "not_train");
        record_set_null(record, FACT_ACCUMULATE, "not_train");
        record_set_null(record, FACT_OPTIMIZER_DTYPE, "not_train");
        return;
    }
    record_set_string(record, FACT_RECOMPUTE, cell_recompute_name(cell->options.recompute));
    record_set_u64(record, FACT_ACCUMULATE, cell_accumulate(cell));
    record_set_string(record, FACT_OPTIMIZER_DTYPE, cell_optimizer_dtype_name(cell));
}

static void put_identity(const struct trial *trial, struct record *record)
{
    const struct cell *cell = trial->cell;
    const struct trial_options *options = trial->options;
    put_framework(trial, record);
    char device[2 * CELL_WORD_BYTES];
    cell_device_text(cell, device);
    record_set_string(record, FACT_DEVICE, device);
    record_set_string(record, FACT_PARALLEL, cell_parallel_name(cell));
    record_set_u64(record, FACT_DEVICES_COUNT, device_count(cell->device));
    put_training(cell, record);
    record_set_string(record, FACT_PRECISION, cell_precision_name(cell->precision));
    record_set_string(record, FACT_MODE, cell_mode_name(cell->mode));
    record_set_u64(record, FACT_SEQ_LEN, cell->seq_len);
    record_set_u64(record, FACT_BATCH_SIZE, cell->batch_size);
    record_set_u64(record, FACT_TOKENS_PER_STEP, cell_tokens_per_step(cell));
    put_notes(trial, record);
    record_set_u64(record, FACT_SCHEMA, RECORD_SCHEMA_VERSION);
    set_text(record, FACT_RUN_ID, options->origin.run_id, "not_given");
    record_set_string(record, FACT_CELL_ID, trial->cell_id);
    record_set_string(record, FACT_POLICY_ID, trial->policy_id);
    record_set_u64(record, FACT_TRIAL, trial->number);
    record_set_string(record, FACT_STARTED_AT, trial->started_at);
    record_set_string(record, FACT_VERDICT, verdict_name(trial->judgement.verdict));
    record_set_reasons(record, FACT_REASONS, &trial->judgement.reasons);
    record_set_reasons(record, FACT_WARNINGS, &trial->judgement.warnings);
    set_bool(record, FACT_SYNTHETIC, trial->client.has_hello, is_synthetic(trial),
             "worker_not_started");
    set_text(record, FACT_ENGINE_VERSION,
             trial->client.has_hello ? trial->client.hello.engine_version : "",
             trial->client.has_hello ? NOT_REPORTED : "worker_not_started");
    record_set_string(record, FACT_SYNC, options->policy.is_sync_per_block ? "block" : "step");
    set_text(record, FACT_ENVIRONMENT_ID, options->origin.environment_id, "not_given");
    set_json(record, FACT_ENVIRONMENT, options->origin.environment_json, "not_given");
    record_set_string(record, FACT_HARNESS, version_harness());
    set_json(record, FACT_COMMAND, options->origin.command_json, "not_given");
    set_text(record, FACT_SOURCE_COMMIT, options->origin.source_commit, "not_in_git");
}

static void set_ms(struct record *record, enum fact_id field, const struct measure_value *value)
{
    set_double(record, field, value->is_known, value->value / 1e6, "too_few_samples");
}

/* Sample statistics, besides the published results. */
static void put_spread(const struct measure_summary *summary, struct record *record)
{
    const char *few = "too_few_samples";
    const struct outliers *outliers = &summary->outliers;
    set_double(record, FACT_SAMPLES_EFFECTIVE, summary->samples_count > 1, summary->effective_count,
               few);
    set_double(record, FACT_LAG1, summary->samples_count > 1, summary->lag1, few);
    set_double(record, FACT_MS_MEAN_LOW, summary->mean_95.is_known, summary->mean_95.low / 1e6,
               few);
    set_double(record, FACT_MS_MEAN_HIGH, summary->mean_95.is_known, summary->mean_95.high / 1e6,
               few);
    set_ms(record, FACT_MS_P90_UPPER, &summary->p90_upper_95_ns);
    set_ms(record, FACT_MS_P95_UPPER, &summary->p95_upper_95_ns);
    set_ms(record, FACT_MS_P99_UPPER, &summary->p99_upper_95_ns);
    set_ms(record, FACT_MS_P999_UPPER, &summary->p999_upper_95_ns);
    record_set_u64(record, FACT_OUTLIERS,
                   outliers->low_severe + outliers->low_mild + outliers->high_mild +
                       outliers->high_severe);
}

static void put_drift(const struct drift *drift, struct record *record)
{
    const char *few = "too_few_samples";
    const struct measure_interval *change = &drift->half_change_95;
    const char *no_interval = drift->half_change_percent.is_known ? "no_interval" : few;
    set_double(record, FACT_DRIFT_PERCENT, drift->half_change_percent.is_known,
               drift->half_change_percent.value, few);
    set_double(record, FACT_DRIFT_PERCENT_LOW, change->is_known, change->low, no_interval);
    set_double(record, FACT_DRIFT_PERCENT_HIGH, change->is_known, change->high, no_interval);
    set_double(record, FACT_DRIFT_SLOPE_PERCENT, drift->slope_percent.is_known,
               drift->slope_percent.value, few);
}

/* Results of the measured blocks, also of those before an early end. */
static void put_measured(const struct trial *trial, struct record *record)
{
    if (!trial->has_summary) {
        static const enum fact_id fields[] = {FACT_STEPS,
                                              FACT_MS_PER_STEP,
                                              FACT_TOKENS_PER_SEC,
                                              FACT_MEDIAN_TOKENS_PER_SEC,
                                              FACT_TOKENS_PER_SEC_PER_DEVICE,
                                              FACT_SAMPLES,
                                              FACT_MS_P50,
                                              FACT_MS_P50_LOW,
                                              FACT_MS_P50_HIGH,
                                              FACT_MS_P90,
                                              FACT_MS_P95,
                                              FACT_MS_P99,
                                              FACT_MS_P999,
                                              FACT_MS_MIN,
                                              FACT_MS_MAX,
                                              FACT_MS_STDDEV,
                                              FACT_TOKENS_PER_SEC_LOW,
                                              FACT_TOKENS_PER_SEC_HIGH,
                                              FACT_SAMPLES_EFFECTIVE,
                                              FACT_LAG1,
                                              FACT_MS_MEAN_LOW,
                                              FACT_MS_MEAN_HIGH,
                                              FACT_MS_P90_UPPER,
                                              FACT_MS_P95_UPPER,
                                              FACT_MS_P99_UPPER,
                                              FACT_MS_P999_UPPER,
                                              FACT_OUTLIERS,
                                              FACT_DRIFT_PERCENT,
                                              FACT_DRIFT_PERCENT_LOW,
                                              FACT_DRIFT_PERCENT_HIGH,
                                              FACT_DRIFT_SLOPE_PERCENT};
        for (size_t i = 0; i < ARRAY_COUNT(fields); i++)
            record_set_null(record, fields[i], why_missing(trial));
        return;
    }
    const struct measure_summary *summary = &trial->summary;
    bool has_window = summary->window_ns > 0;
    const char *few = "too_few_samples";
    record_set_u64(record, FACT_STEPS, summary->steps_count);
    record_set_double(record, FACT_MS_PER_STEP,
                      (double)summary->window_ns / (double)summary->steps_count / 1e6);
    set_double(record, FACT_TOKENS_PER_SEC, has_window, summary->tokens_per_second,
               "below_the_clock");
    set_double(record, FACT_TOKENS_PER_SEC_PER_DEVICE, has_window,
               summary->tokens_per_second / device_count(trial->cell->device), "below_the_clock");
    set_double(record, FACT_MEDIAN_TOKENS_PER_SEC, summary->median_ns > 0,
               (double)cell_tokens_per_step(trial->cell) * 1e9 / summary->median_ns,
               "below_the_clock");
    record_set_u64(record, FACT_SAMPLES, summary->samples_count);
    record_set_double(record, FACT_MS_P50, summary->median_ns / 1e6);
    set_double(record, FACT_MS_P50_LOW, summary->median_95.is_known, summary->median_95.low / 1e6,
               few);
    set_double(record, FACT_MS_P50_HIGH, summary->median_95.is_known, summary->median_95.high / 1e6,
               few);
    set_ms(record, FACT_MS_P90, &summary->p90_ns);
    set_ms(record, FACT_MS_P95, &summary->p95_ns);
    set_ms(record, FACT_MS_P99, &summary->p99_ns);
    set_ms(record, FACT_MS_P999, &summary->p999_ns);
    record_set_double(record, FACT_MS_MIN, summary->min_ns / 1e6);
    record_set_double(record, FACT_MS_MAX, summary->max_ns / 1e6);
    set_ms(record, FACT_MS_STDDEV, &summary->stddev_ns);
    const struct measure_interval *rate = &summary->tokens_per_second_95;
    set_double(record, FACT_TOKENS_PER_SEC_LOW, rate->is_known, rate->low, few);
    set_double(record, FACT_TOKENS_PER_SEC_HIGH, rate->is_known, rate->high, few);
    put_spread(summary, record);
    put_drift(&trial->drift, record);
}

static void put_warmup(const struct trial *trial, struct record *record)
{
    const struct measure_state *state = &trial->measure;
    const char *missing = why_missing(trial);
    bool has_run = trial->blocks_count > 0;
    set_u64(record, FACT_WARMUP_STEPS, has_run, state->warmup_steps_done, missing);
    set_double(record, FACT_WARMUP_MS, has_run, (double)state->warmup_ns / 1e6, missing);
    set_bool(record, FACT_WARMUP_STEADY, has_run && state->policy.is_warmup_auto,
             state->is_warmup_steady, has_run ? "fixed_warmup" : missing);
    set_double(record, FACT_FIRST_STEP_MS, has_run, (double)state->first_step_ns / 1e6, missing);
}

/* By the host's or the worker's clock: nothing that a made-up engine could have. */
static void put_times(const struct trial *trial, struct record *record)
{
    const struct proto_ready *ready = &trial->client.ready;
    const char *missing = is_synthetic(trial) ? "synthetic" : why_missing(trial);
    bool has_ready = trial->client.has_ready && !is_synthetic(trial);
    set_double(record, FACT_START_MS, trial->client.has_hello && !is_synthetic(trial),
               (double)trial->client.start_ns / 1e6, missing);
    /* What opening took beyond loading and compiling is the harness's, if the worker says. */
    uint64_t opening_ns = ready->load_ns > 0 ? ready->load_ns + ready->trace_ns + ready->compile_ns
                                             : trial->client.open_ns;
    const struct measure_state *measure = &trial->measure;
    uint64_t work_ns = trial->client.start_ns + opening_ns + measure->warmup_ns +
                       measure->steady_ns + measure->aside_ns + measure->lead_in_ns +
                       measure->paused_ns + trial->check_ns;
    set_double(record, FACT_HARNESS_MS, has_ready && work_ns <= trial->total_ns,
               (double)(trial->total_ns - work_ns) / 1e6, missing);
}

/* What the harness takes beside the measured blocks' steps; what the worker says it needed for the
 * data and the losses is not the harness's. */
static void put_harness(const struct trial *trial, struct record *record)
{
    uint64_t window_ns = trial->measure.steady_ns;
    uint64_t apart_ns = window_ns + given_blocks_u64(&trial->given, FACT_PREPARE_MS) +
                        given_blocks_u64(&trial->given, FACT_OBSERVE_MS);
    bool has_steps = trial->measure.steady_steps_done > 0;
    bool is_real = has_steps && !is_synthetic(trial);
    bool is_known = is_real && trial->round_trips_ns >= apart_ns;
    bool has_inside = is_real && !trial->options->policy.is_sync_per_block;
    const char *missing = is_synthetic(trial) ? "synthetic" : why_missing(trial);
    double outside_ms = (double)(trial->round_trips_ns - apart_ns) / 1e6;
    double inside_ms = has_inside ? (double)(window_ns - trial->steps_ns) / 1e6 : 0;
    set_double(record, FACT_HARNESS_OUTSIDE_MS, is_known, outside_ms,
               is_real ? "clock_mismatch" : missing);
    set_double(record, FACT_HARNESS_INSIDE_MS, has_inside, inside_ms,
               is_real ? "no_stamps_inside" : missing);
    set_double(record, FACT_HARNESS_PERCENT, is_known && window_ns > 0,
               100 * (outside_ms + inside_ms) / ((double)window_ns / 1e6),
               is_real ? "clock_mismatch" : missing);
    set_double(record, FACT_HARNESS_CPU_PERCENT, is_real && window_ns > 0,
               100 * (double)trial->waiting_cpu_ns / (double)window_ns, missing);
}

/* Only where the settings are the model's: a user's own is known by its parameters alone. */
static void put_spec(const struct cell *cell, bool is_known, struct record *record)
{
    static const char why_not[] = "model_of_its_own";
    if (!is_known) {
        record_set_null(record, FACT_MODEL_SPEC, why_not);
        record_set_null(record, FACT_STEP_FLOPS, why_not);
        return;
    }
    struct buf json;
    struct json_writer writer;
    buf_init(&json, JSON_BYTES_MAX);
    json_writer_init(&writer, &json);
    model_spec_write(&cell->model, &writer);
    set_json(record, FACT_MODEL_SPEC, json.failed ? "" : json.data, "too_long");
    buf_release(&json);
    record_set_double(record, FACT_STEP_FLOPS, flops_step(cell, FLOPS_MODEL));
}

static void put_model(const struct trial *trial, struct record *record)
{
    const struct cell *cell = trial->cell;
    const struct proto_ready *ready = &trial->client.ready;
    uint64_t total = ready->params_total;
    uint64_t active = ready->params_active;
    /* A preset is known without a worker. */
    if (total == 0 && provenance_is_preset(cell))
        total = model_params_total(&cell->model);
    if (active == 0 && provenance_is_preset(cell) && !provenance_is_package(&trial->client.ready))
        active = model_params_active(&cell->model);
    bool is_spec = provenance_is_preset(cell) && total == model_params_total(&cell->model);
    const char *missing = trial->client.has_ready ? NOT_REPORTED : why_missing(trial);
    set_double(record, FACT_PARAMS_MILLIONS, total > 0, (double)total / 1e6, missing);
    if (total > 0)
        record_set_u64(record, FACT_PARAMS_TOTAL, total);
    if (active > 0)
        record_set_u64(record, FACT_PARAMS_ACTIVE, active);
    record_set_string(record, FACT_MODEL, cell->model.name);
    set_text(record, FACT_MODEL_SOURCE,
             ready->model_source[0] != '\0' ? ready->model_source : cell->model_source,
             NOT_REPORTED);
    put_spec(cell, is_spec, record);
}

static void put_inputs(const struct cell *cell, struct record *record)
{
    set_text(record, FACT_DATA_HASH, cell->data_hash, "synthetic_data");
    set_text(record, FACT_WEIGHTS_HASH, cell->weights_hash, "initialised_from_seed");
    record_set_u64(record, FACT_SEED, cell->seed);
}

static void put_parts(const struct proto_memory_parts *parts, struct record *record,
                      const char *missing)
{
    if (!parts->is_known) {
        record_set_null(record, FACT_MEM_PARTS_MB, missing);
        return;
    }
    struct buf json;
    struct json_writer writer;
    buf_init(&json, JSON_BYTES_MAX);
    json_writer_init(&writer, &json);
    json_begin_object(&writer);
    json_field_double(&writer, "weights", (double)parts->weights_bytes / MIB);
    json_field_double(&writer, "gradients", (double)parts->gradients_bytes / MIB);
    json_field_double(&writer, "optimizer", (double)parts->optimizer_bytes / MIB);
    json_field_double(&writer, "activations", (double)parts->activations_bytes / MIB);
    json_field_double(&writer, "kv_cache", (double)parts->kv_cache_bytes / MIB);
    json_field_double(&writer, "workspace", (double)parts->workspace_bytes / MIB);
    json_field_double(&writer, "other", (double)parts->other_bytes / MIB);
    json_end_object(&writer);
    set_json(record, FACT_MEM_PARTS_MB, json.failed ? "" : json.data, missing);
    buf_release(&json);
}

static void put_fit(const struct trial *trial, struct record *record)
{
    const struct nearest_fit *fit = &trial->fit;
    bool is_oom = trial->judgement.verdict == VERDICT_OOM;
    if (!is_oom || fit->why_not != NULL) {
        record_set_null(record, FACT_FITS_INSTEAD, is_oom ? fit->why_not : "no_oom");
        return;
    }
    struct buf json;
    struct json_writer writer;
    buf_init(&json, JSON_BYTES_MAX);
    json_writer_init(&writer, &json);
    nearest_fit_write(fit, trial->cell, &writer);
    set_json(record, FACT_FITS_INSTEAD, json.failed ? "" : json.data, "too_long");
    buf_release(&json);
}

static void put_memory(const struct trial *trial, struct record *record)
{
    const struct proto_memory *memory = &trial->memory; /* all zero without one */
    const struct proto_memory_parts *predicted = &trial->client.ready.memory_predicted;
    const struct session *session = &trial->client.session;
    const char *missing = trial->has_memory ? NOT_REPORTED : why_missing(trial);
    /* Measured by the worker's operating system, so never of a made-up engine. */
    bool has_growth = memory->has_rss && !is_synthetic(trial) &&
                      memory->rss_peak_bytes >= memory->rss_baseline_bytes;
    double growth_mb = (double)(memory->rss_peak_bytes - memory->rss_baseline_bytes) / MIB;
    bool is_own_peak = !device_is_host(trial->cell->device) || is_synthetic(trial);
    if (!is_own_peak)
        set_double(record, FACT_PEAK_MEM_MB, has_growth, growth_mb, missing);
    set_double(record, FACT_RSS_PEAK_MB, has_growth, growth_mb,
               is_synthetic(trial) ? "synthetic" : missing);
    uint64_t predicted_bytes = predicted->total_bytes;
    /* The engine's arithmetic, where its worker has none. */
    bool is_predicted =
        predicted->is_known ||
        (trial->client.has_ready && !is_synthetic(trial) && trial->options->predict != NULL &&
         trial->options->predict(trial->cell, &predicted_bytes));
    set_double(record, FACT_MEM_PREDICTED_MB, is_predicted, (double)predicted_bytes / MIB,
               trial->client.has_ready ? NOT_REPORTED : why_missing(trial));
    put_parts(&memory->parts, record, missing);
    const char *not_oom = trial->judgement.verdict == VERDICT_OOM ? NOT_REPORTED : "no_oom";
    set_u64(record, FACT_MEM_NEEDED_BYTES, session->has_oom_needed, session->oom_needed_bytes,
            not_oom);
    set_u64(record, FACT_MEM_AVAILABLE_BYTES, session->has_oom_available,
            session->oom_available_bytes, not_oom);
    put_fit(trial, record);
}

static double seconds(struct timeval time)
{
    return (double)time.tv_sec + (double)time.tv_usec / 1e6;
}

static void put_process(const struct trial *trial, struct record *record)
{
    const struct spawn *spawn = &trial->client.session.spawn;
    const struct rusage *usage = &spawn->usage;
    bool is_known = spawn->is_reaped && !is_synthetic(trial);
    const char *missing = is_synthetic(trial) ? "synthetic" : "worker_not_collected";
    set_double(record, FACT_MAXRSS_MB, is_known, (double)usage->ru_maxrss / 1024, missing);
    set_double(record, FACT_CPU_USER_S, is_known, seconds(usage->ru_utime), missing);
    set_double(record, FACT_CPU_SYSTEM_S, is_known, seconds(usage->ru_stime), missing);
    set_u64(record, FACT_CONTEXT_SWITCHES, is_known, (uint64_t)usage->ru_nivcsw, missing);
    char exit_text[SPAWN_EXIT_TEXT_BYTES] = "";
    if (spawn->is_reaped)
        spawn_exit_text(spawn->wait_status, exit_text);
    set_text(record, FACT_WORKER_EXIT, exit_text,
             spawn->pid > 0 ? "worker_not_collected" : "worker_not_started");
    const char *start = trial->client.session.is_forked ? "forked" : "fresh";
    set_text(record, FACT_START, spawn->pid > 0 ? start : "", "worker_not_started");
    char tail[LOG_TAIL_BYTES + 1] = "";
    bool has_failed =
        trial->judgement.verdict != VERDICT_OK && trial->judgement.verdict != VERDICT_UNSTEADY;
    if (has_failed)
        session_log_tail(&trial->client.session, tail);
    set_text(record, FACT_LOG_TAIL, tail, has_failed ? "empty_log" : "no_failure");
}

static void put_experts(const struct proto_observation *seen, struct record *record,
                        const char *missing)
{
    if (seen->experts_count == 0) {
        record_set_null(record, FACT_EXPERT_TOKENS, missing);
        record_set_null(record, FACT_EXPERT_IMBALANCE, missing);
        return;
    }
    struct buf json;
    struct json_writer writer;
    buf_init(&json, JSON_BYTES_MAX);
    json_writer_init(&writer, &json);
    json_begin_array(&writer);
    double sum = 0;
    double busiest = 0;
    for (uint32_t i = 0; i < seen->experts_count; i++) {
        json_put_u64(&writer, seen->expert_tokens[i]);
        sum += (double)seen->expert_tokens[i];
        busiest = fmax(busiest, (double)seen->expert_tokens[i]);
    }
    json_end_array(&writer);
    set_json(record, FACT_EXPERT_TOKENS, json.failed ? "" : json.data, missing);
    set_double(record, FACT_EXPERT_IMBALANCE, sum > 0, busiest * seen->experts_count / sum,
               "no_tokens");
    buf_release(&json);
}

/* What the worker said, as it is. What follows may know better. */
static void put_given(const struct trial *trial, struct record *record)
{
    struct given_why why = {is_synthetic(trial), device_count(trial->cell->device) > 1,
                            why_missing(trial)};
    given_put_ready(trial->client.has_ready ? &trial->client.ready : NULL, &why, record);
    bool is_clean = trial->measure.steady_steps_done > 0; /* as in outcome_summarize() */
    given_put_blocks(is_clean ? &trial->given : &trial->given_aside, &why, record);
    given_put_memory(trial->has_memory ? &trial->memory : NULL, &why, record);
}

static void put_stability(const struct trial *trial, struct record *record)
{
    const struct proto_observation *last = &trial->last;
    bool has_measured = trial->has_summary;
    const char *missing = has_measured ? NOT_REPORTED : why_missing(trial);
    set_double(record, FACT_LOSS_FIRST, trial->has_loss_first, trial->loss_first, missing);
    put_experts(last, record, missing);
}

static void put_step_check(const struct trial *trial, struct record *record)
{
    static const char *const results[] = {[STEP_CHECK_NOT_MADE] = "",
                                          [STEP_CHECK_UNCHECKED] = "unchecked",
                                          [STEP_CHECK_SAME] = "same",
                                          [STEP_CHECK_DIFFERS] = "differs"};
    const struct step_check *check = &trial->step_check;
    bool is_made = check->result != STEP_CHECK_NOT_MADE && !is_synthetic(trial);
    const char *missing = is_synthetic(trial) ? "synthetic" : why_missing(trial);
    set_text(record, FACT_STEP_CHECK, is_made ? results[check->result] : "", missing);
    set_double(record, FACT_STEP_DIFFERENCE, is_made && check->has_difference, check->difference,
               is_made ? "unchecked" : missing);
}

enum status outcome_record(const struct trial *trial, struct record **ret_record, struct err *err)
{
    struct record *record = record_new();
    if (record == NULL)
        return ERR(err, STATUS_NOMEM, "no memory for a record");
    put_given(trial, record);
    put_identity(trial, record);
    put_measured(trial, record);
    put_warmup(trial, record);
    put_times(trial, record);
    put_harness(trial, record);
    put_model(trial, record);
    put_inputs(trial->cell, record);
    put_memory(trial, record);
    put_process(trial, record);
    put_stability(trial, record);
    put_step_check(trial, record);
    struct observed seen = trial_observed(trial);
    observer_put(&trial->observer, &seen, record);
    sweep_facts_put(trial->options->sweep, trial->judgement.verdict, record);
    *ret_record = record;
    return STATUS_OK;
}
