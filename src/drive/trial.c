#include "drive/trial.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "drive/judge.h"
#include "drive/outcome.h"

#define SAMPLES_LINE_BYTES_MAX (1U << 20)
#define ID_BYTES_MAX           (64 * 1024)
/* Between two looks at whether others have left the processors. */
#define PAUSE_LOOK_NS (100 * NS_PER_MS)

static void put_policy(struct json_writer *writer, const struct measure_policy *policy)
{
    json_field_u64(writer, "steps_exact", policy->steps_exact);
    json_field_double(writer, "target_ci_percent", policy->target_ci_percent);
    json_field_u64(writer, "time_max_ns", policy->time_max_ns);
    json_field_u64(writer, "time_min_ns", policy->time_min_ns);
    json_field_u64(writer, "samples_min", policy->samples_min);
    json_field_bool(writer, "is_warmup_auto", policy->is_warmup_auto);
    json_field_u64(writer, "warmup_steps", policy->warmup_steps);
    json_field_u64(writer, "warmup_steps_max", policy->warmup_steps_max);
    json_field_u64(writer, "warmup_time_max_ns", policy->warmup_time_max_ns);
    json_field_bool(writer, "is_sync_per_block", policy->is_sync_per_block);
    json_field_u64(writer, "block_target_ns", policy->block_target_ns);
    json_field_u64(writer, "block_steps_max", policy->block_steps_max);
    /* Only where it is true: ids of other policies stay as they are. */
    if (policy->is_target_asked)
        json_field_bool(writer, "is_target_asked", true);
}

void trial_policy_id(const struct measure_policy *policy, const char *launch_prefix,
                     char id[HASH_ID_BYTES])
{
    struct buf text;
    struct json_writer writer;
    buf_init(&text, ID_BYTES_MAX);
    json_writer_init(&writer, &text);
    json_begin_object(&writer);
    put_policy(&writer, policy);
    json_field_u64(&writer, "method", MEASURE_METHOD);
    json_field_string(&writer, "launch_prefix", launch_prefix != NULL ? launch_prefix : "");
    json_end_object(&writer);
    hash_id(text.data, text.length_bytes, id);
    buf_release(&text);
}

/* --- events --- */

static void enter_phase(struct trial *trial, enum event_phase phase)
{
    trial->client.session.phase = phase;
    events_phase_changed(trial->options->client.events, phase);
}

/* What the machine does now, for who looks on. */
static void tell_machine(struct trial *trial)
{
    struct gauges gauges = {.count = 0};
    struct observed seen = trial_observed(trial);
    uint64_t now_ns = clock_now_ns();
    if (trial->measure.phase != MEASURE_STEADY || trial->options->client.events == NULL ||
        now_ns - trial->looked_ns < NS_PER_S)
        return;
    trial->looked_ns = now_ns;
    observer_look(&trial->observer, &seen, &gauges);
    events_machine_seen(trial->options->client.events, &gauges);
}

static void tell_block(const struct trial *trial, const struct proto_block *block)
{
    const struct event_block told = {.state = &trial->measure,
                                     .steps_count = block->steps_count,
                                     .window_ns = block->window_ns,
                                     .loss = block->observation.loss};
    events_block_done(trial->options->client.events, &told);
}

/* --- phases --- */

static enum status start_worker(struct trial *trial, struct store *store, struct err *err)
{
    const char *run_id = trial->options->origin.run_id;
    char log_path[FILE_PATH_BYTES];
    char title[256];
    (void)snprintf(title, sizeof(title), "[tokmark: run %s, trial %" PRIu32 ", %s]\n",
                   run_id != NULL ? run_id : "-", trial->number + 1, trial->started_at);
    enum status status = store_log_path(store, trial->cell_id, log_path, sizeof(log_path), err);
    if (status != STATUS_OK)
        return status;
    enter_phase(trial, EVENT_STARTING);
    return client_start(&trial->client, log_path, title, err);
}

static void open_model(struct trial *trial)
{
    enter_phase(trial, EVENT_OPENING);
    client_open(&trial->client);
}

/* What the cause was found by. */
static void put_lap(struct json_writer *writer, const struct interference *interference)
{
    const struct cpu_lap *lap = &interference->last;
    json_put_key(writer, "cpus");
    if (!interference->is_open || !lap->is_known) {
        json_put_null(writer);
        return;
    }
    json_begin_object(writer);
    json_field_u64(writer, "count", lap->cpus_count);
    json_field_u64(writer, "wall_ns", lap->wall_ns);
    json_field_u64(writer, "wait_ns", lap->waited_ns);
    json_field_u64(writer, "foreign_ns", lap->foreign_ns);
    json_field_u64(writer, "steal_ns", lap->stolen_ns);
    json_field_u64(writer, "throttled_ns", lap->throttled_ns);
    json_end_object(writer);
}

/* One line of raw samples: {"run_id","phase","block","set_aside","cpus","sync","steps","window_ns",
 * "ns":[..]}. */
static enum status append_samples(const struct trial *trial, struct store *store,
                                  enum measure_phase phase, const struct proto_block *block,
                                  enum interference_cause cause, struct err *err)
{
    struct buf line;
    struct json_writer writer;
    buf_init(&line, SAMPLES_LINE_BYTES_MAX);
    json_writer_init(&writer, &line);
    json_begin_object(&writer);
    json_field_string(&writer, "run_id",
                      trial->options->origin.run_id != NULL ? trial->options->origin.run_id : "");
    json_field_string(&writer, "phase", phase == MEASURE_WARMUP ? "warmup" : "steady");
    json_field_u64(&writer, "block", trial->blocks_count);
    json_put_key(&writer, "set_aside");
    if (cause == INTERFERENCE_NONE)
        json_put_null(&writer);
    else
        json_put_string(&writer, interference_code(cause));
    put_lap(&writer, &trial->interference);
    json_field_string(&writer, "sync", block->sync == PROTO_SYNC_STEP ? "step" : "block");
    json_field_u64(&writer, "steps", block->steps_count);
    json_field_u64(&writer, "window_ns", block->window_ns);
    if (block->observation.has_device_ns)
        json_field_u64(&writer, "device_ns", block->observation.device_ns);
    json_put_key(&writer, "ns");
    json_begin_array(&writer);
    for (uint32_t i = 0; block->step_ns != NULL && i < block->steps_count; i++)
        json_put_u64(&writer, block->step_ns[i]);
    json_end_array(&writer);
    json_end_object(&writer);
    buf_append_char(&line, '\n');
    enum status status = line.failed
                             ? ERR(err, STATUS_NOMEM, "no memory for the samples of a block")
                             : store_append_samples(store, trial->cell_id, trial->number, line.data,
                                                    line.length_bytes, err);
    buf_release(&line);
    return status;
}

/* What a block says beside time. */
static void take_observation(struct trial *trial, enum measure_phase phase,
                             const struct proto_block *block, bool is_clean)
{
    const struct proto_observation *seen = &block->observation;
    given_blocks_add(&trial->given, block, phase == MEASURE_STEADY && is_clean);
    given_blocks_add(&trial->given_aside, block, phase == MEASURE_STEADY && !is_clean);
    if (phase != MEASURE_STEADY)
        return;
    if (trial->measure.steady_steps_done + trial->measure.aside_steps_done == 0) {
        trial->has_loss_first = isfinite(seen->loss);
        trial->loss_first = seen->loss;
    }
    for (uint32_t i = 0; is_clean && block->step_ns != NULL && i < block->steps_count; i++)
        trial->steps_ns += block->step_ns[i];
    trial->last = *seen;
}

static enum status take_block(struct trial *trial, struct store *store,
                              const struct proto_block *block, enum interference_cause cause,
                              struct err *err)
{
    struct measure_state *measure = &trial->measure;
    enum measure_phase phase = measure->phase;
    bool is_clean = cause == INTERFERENCE_NONE;
    take_observation(trial, phase, block, is_clean);
    if (phase == MEASURE_STEADY)
        interference_count(&trial->interference, cause, block->steps_count);
    trial->block_window_ns = block->window_ns;
    trial->block_apart_ns =
        block->window_ns + block->observation.prepare_ns + block->observation.observe_ns;
    enum status status = append_samples(trial, store, phase, block, cause, err);
    if (status == STATUS_OK)
        status = is_clean ? measure_add_block(measure, block->steps_count, block->window_ns,
                                              block->step_ns, err)
                          : measure_set_aside(measure, block->steps_count, block->window_ns,
                                              block->step_ns, err);
    trial->blocks_count++;
    trial->steps_done += block->steps_count;
    return status;
}

static enum proto_sync block_sync(const struct trial *trial)
{
    return trial->measure.policy.is_sync_per_block ? PROTO_SYNC_BLOCK : PROTO_SYNC_STEP;
}

static enum status run_block(struct trial *trial, struct store *store,
                             const struct measure_order *order, enum interference_cause *ret_cause,
                             struct err *err)
{
    enum proto_sync sync = block_sync(trial);
    bool is_measured = order->phase == MEASURE_STEADY;
    bool is_first = trial->blocks_count == 0;
    struct proto_block block;
    uint64_t host_ns = 0;
    interference_begin(&trial->interference);
    uint64_t cpu_before_ns = clock_cpu_ns();
    if (!client_run(&trial->client, order->steps_count, sync, is_measured, &block, &host_ns))
        return STATUS_OK;
    uint64_t cpu_ns = clock_cpu_ns() - cpu_before_ns;
    enum interference_cause cause = interference_end(&trial->interference);
    /* The first step may compile, in processes of its own. */
    if (is_first)
        cause = INTERFERENCE_NONE;
    if (order->is_lead_in)
        cause = INTERFERENCE_AFTER_PAUSE;
    if (is_measured && cause == INTERFERENCE_NONE)
        trial->waiting_cpu_ns += cpu_ns;
    enum status status = take_block(trial, store, &block, cause, err);
    tell_machine(trial);
    tell_block(trial, &block);
    free(block.step_ns);
    *ret_cause = cause;
    return status;
}

/* Others keep the processors busy: rather than to measure what is set aside, wait a while for them
 * to be done. */
static void pause_for_others(struct trial *trial)
{
    uint64_t begin_ns = clock_now_ns();
    uint64_t room_ns = measure_pause_max_ns(&trial->measure);
    bool is_over = false;
    if (room_ns == 0 || !interference_lasts(&trial->interference))
        return;
    enum event_phase phase = trial->client.session.phase;
    enter_phase(trial, EVENT_WAITING);
    interference_begin(&trial->interference);
    while (!is_over && clock_now_ns() - begin_ns < room_ns &&
           session_pause(&trial->client.session, PAUSE_LOOK_NS))
        is_over = interference_is_over(&trial->interference);
    uint64_t paused_ns = clock_now_ns() - begin_ns;
    trial->interference.paused_ns += paused_ns;
    measure_add_pause(&trial->measure, paused_ns, is_over);
    enter_phase(trial, phase);
}

/* Warm-up, or the measured part of the run. */
static void begin_phase(struct trial *trial, enum measure_phase phase)
{
    struct observed seen = trial_observed(trial);
    if (trial->blocks_count == 0)
        observer_before_first(&trial->observer, &seen);
    if (phase == MEASURE_STEADY)
        observer_before_measured(&trial->observer, &seen);
    enter_phase(trial, phase == MEASURE_WARMUP ? EVENT_WARMUP : EVENT_MEASURING);
}

static void end_measuring(struct trial *trial)
{
    struct observed seen = trial_observed(trial);
    bool is_complete = trial->measure.phase == MEASURE_DONE && !trial->client.session.has_ended;
    observer_after_measured(&trial->observer, &seen, is_complete);
}

/* From deciding on a block to being ready for the next. */
static void take_round_trip(struct trial *trial, enum measure_phase phase,
                            enum interference_cause cause, uint64_t trip_ns)
{
    if (phase == MEASURE_STEADY && cause == INTERFERENCE_NONE)
        trial->round_trips_ns += trip_ns;
    if (trial->client.hello.is_synthetic || trip_ns < trial->block_apart_ns)
        return;
    measure_add_overhead(&trial->measure, trip_ns - trial->block_apart_ns);
    measure_add_spent(&trial->measure, trial->block_apart_ns - trial->block_window_ns);
}

static enum status run_blocks(struct trial *trial, struct store *store, struct err *err)
{
    enum status status = STATUS_OK;
    enum measure_phase told = MEASURE_DONE;
    const struct client *client = &trial->client;
    interference_open(&trial->interference, &client, 1,
                      trial->options->observe.foreign_limit_percent);
    while (status == STATUS_OK && client_can_go_on(&trial->client)) {
        uint64_t before_ns = clock_now_ns();
        struct measure_order order = measure_next(&trial->measure);
        if (order.phase == MEASURE_DONE)
            break;
        if (order.phase != told) {
            begin_phase(trial, order.phase);
            before_ns = clock_now_ns(); /* once a phase: not a block's */
        }
        told = order.phase;
        uint64_t blocks_count = trial->blocks_count;
        enum interference_cause cause = INTERFERENCE_NONE;
        status = run_block(trial, store, &order, &cause, err);
        if (trial->blocks_count == blocks_count)
            continue;
        take_round_trip(trial, order.phase, cause, clock_now_ns() - before_ns);
        if (cause != INTERFERENCE_NONE && cause != INTERFERENCE_AFTER_PAUSE)
            pause_for_others(trial);
    }
    end_measuring(trial);
    return status;
}

/* Last of all: what it takes of time and memory is no part of what was measured. */
static void check_step(struct trial *trial)
{
    uint64_t before_ns = clock_now_ns();
    enter_phase(trial, EVENT_CHECKING);
    step_check_make(&trial->client, &trial->last, trial->steps_done, block_sync(trial),
                    &trial->step_check);
    trial->check_ns = clock_now_ns() - before_ns;
}

static enum status run_phases(struct trial *trial, struct store *store, struct err *err)
{
    enum status status = start_worker(trial, store, err);
    if (status == STATUS_OK && client_can_go_on(&trial->client))
        open_model(trial);
    if (status == STATUS_OK && client_can_go_on(&trial->client) && trial->client.has_ready)
        status = run_blocks(trial, store, err);
    /* After SIGINT too, if only that is missing from a whole measurement. */
    bool is_measured = trial->measure.phase == MEASURE_DONE;
    if (status == STATUS_OK && is_measured && !trial->client.session.has_ended)
        trial->has_memory = client_memory(&trial->client, &trial->memory);
    if (status == STATUS_OK && is_measured && client_can_go_on(&trial->client))
        check_step(trial);
    enter_phase(trial, EVENT_CLOSING);
    client_close(&trial->client);
    return status;
}

/* --- the trial --- */

static enum status begin_trial(struct trial *trial, const struct cell *cell, uint32_t number,
                               const struct trial_options *options, struct err *err)
{
    trial->cell = cell;
    trial->number = number;
    trial->options = options;
    cell_id(cell, trial->cell_id);
    trial_policy_id(&options->policy, options->client.launch_prefix, trial->policy_id);
    clock_stamp(trial->started_at);
    client_init(&trial->client, cell, &options->client);
    struct measure_policy policy = options->policy;
    if (policy.block_steps_max == 0 || policy.block_steps_max > PROTO_BLOCK_STEPS_MAX)
        policy.block_steps_max = PROTO_BLOCK_STEPS_MAX;
    measure_init(&trial->measure, &policy);
    proto_observation_init(&trial->last);
    return observer_init(&trial->observer, &options->observe, err);
}

static bool is_out_of_memory(const struct trial *trial)
{
    const struct session *session = &trial->client.session;
    return session->has_ended && session->verdict == VERDICT_OOM;
}

/* The verdict and the record, told to listeners. */
static enum status finish_trial(struct trial *trial, struct record **ret_record, struct err *err)
{
    enum status status = outcome_summarize(trial, err);
    struct observed seen = trial_observed(trial);
    if (status == STATUS_OK)
        status = observer_after_trial(&trial->observer, &seen, err);
    if (status != STATUS_OK)
        return status;
    if (is_out_of_memory(trial))
        trial->fit = nearest_fit_find(
            trial->cell, trial->options->predict,
            nearest_fit_memory(trial->cell, trial->options->client.memory_limit_bytes,
                               trial->client.hello_rss_bytes, trial->options->card_bytes));
    judge_trial(trial);
    status = outcome_record(trial, ret_record, err);
    if (status == STATUS_OK)
        events_cell_finished(trial->options->client.events, *ret_record);
    return status;
}

static void trial_free(struct trial *trial)
{
    client_release(&trial->client);
    observer_release(&trial->observer);
    interference_close(&trial->interference);
    measure_release(&trial->measure);
    free(trial);
}

static enum status trial_new(const struct cell *cell, uint32_t number,
                             const struct trial_options *options, struct trial **ret_trial,
                             struct err *err)
{
    struct trial *trial = calloc(1, sizeof(*trial));
    if (trial == NULL)
        return ERR(err, STATUS_NOMEM, "no memory for a trial");
    enum status status = begin_trial(trial, cell, number, options, err);
    if (status != STATUS_OK) {
        trial_free(trial);
        return status;
    }
    const struct sweep_facts *sweep = options->sweep;
    const struct event_cell started = {.cell = cell,
                                       .cell_id = trial->cell_id,
                                       .trial = number,
                                       .position = sweep != NULL ? sweep->position : 0,
                                       .is_canary = sweep != NULL && sweep->is_canary};
    events_cell_started(options->client.events, &started);
    *ret_trial = trial;
    return STATUS_OK;
}

enum status trial_run(const struct cell *cell, uint32_t number, const struct trial_options *options,
                      struct store *store, struct record **ret_record, struct err *err)
{
    uint64_t before_ns = clock_now_ns();
    struct trial *trial = NULL;
    enum status status = trial_new(cell, number, options, &trial, err);
    if (status != STATUS_OK)
        return status;
    struct record *record = NULL;
    status = run_phases(trial, store, err);
    trial->total_ns = clock_now_ns() - before_ns;
    if (status == STATUS_OK)
        status = finish_trial(trial, &record, err);
    trial_free(trial);
    if (status == STATUS_OK)
        *ret_record = record;
    return status;
}

enum status trial_dominated(const struct cell *cell, uint32_t number,
                            const struct trial_options *options, const struct cell *smaller,
                            struct record **ret_record, struct err *err)
{
    struct trial *trial = NULL;
    enum status status = trial_new(cell, number, options, &trial, err);
    if (status != STATUS_OK)
        return status;
    session_end(&trial->client.session, VERDICT_OOM, "dominated",
                "not run: it needs at least the memory of %s seq %" PRIu32 " batch %" PRIu32
                ", which did not fit; --try-all runs it",
                cell_mode_name(smaller->mode), smaller->seq_len, smaller->batch_size);
    status = finish_trial(trial, ret_record, err);
    trial_free(trial);
    return status;
}
