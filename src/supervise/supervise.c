#include "supervise/supervise.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/version.h"
#include "supervise/earlier_runs.h"
#include "supervise/greet.h"
#include "supervise/judge.h"
#include "supervise/outcome.h"
#include "supervise/provenance.h"
#include "supervise/session.h"
#include "telemetry/pace.h"

#define SAMPLES_LINE_BYTES_MAX (1U << 20)
#define ID_BYTES_MAX           (64 * 1024)

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
}

void supervise_policy_id(const struct measure_policy *policy, const char *launch_prefix,
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
    const struct event_listener *events = trial->options->events;
    trial->session.phase = phase;
    if (events != NULL && events->phase_changed != NULL)
        events->phase_changed(events->context, phase);
}

static void tell_block(const struct trial *trial)
{
    const struct event_listener *events = trial->options->events;
    if (events != NULL && events->block_done != NULL)
        events->block_done(events->context, &trial->measure);
}

/* --- phases --- */

/* Starts the worker and greets it. */
static enum status start_worker(struct trial *trial, struct store *store, struct err *err)
{
    struct words command;
    char log_path[FILE_PATH_BYTES];
    char title[256];
    (void)snprintf(title, sizeof(title), "[tokmark: run %s, trial %" PRIu32 ", %s]\n",
                   trial->options->run_id != NULL ? trial->options->run_id : "-", trial->number,
                   trial->started_at);
    enum status status = store_log_path(store, trial->cell_id, log_path, sizeof(log_path), err);
    if (status != STATUS_OK)
        return status;
    status = session_command(trial->options, trial->cell->engine, &command, err);
    if (status != STATUS_OK)
        return status;
    uint64_t before_ns = clock_now_ns();
    enter_phase(trial, EVENT_STARTING);
    status = session_start(&trial->session, &command, log_path, title, err);
    words_release(&command);
    if (status != STATUS_OK)
        return status;
    if (!greet_worker(&trial->session, &trial->hello))
        return STATUS_OK;
    trial->start_ns = clock_now_ns() - before_ns;
    trial->has_hello = true;
    return STATUS_OK;
}

static void open_model(struct trial *trial)
{
    enter_phase(trial, EVENT_OPENING);
    struct proto_host_message request = {.type = PROTO_OPEN, .as.open = *trial->cell};
    struct proto_worker_message reply;
    uint64_t before_ns = clock_now_ns();
    if (!session_ask(&trial->session, &request, PROTO_READY, &reply))
        return;
    trial->open_ns = clock_now_ns() - before_ns;
    trial->ready = reply.as.ready;
    trial->has_ready = true;
}

/* One line of raw samples: {"run_id","phase","block","sync","steps","window_ns","ns":[..]}. */
static enum status append_samples(const struct trial *trial, struct store *store,
                                  enum measure_phase phase, const struct proto_block *block,
                                  struct err *err)
{
    struct buf line;
    struct json_writer writer;
    buf_init(&line, SAMPLES_LINE_BYTES_MAX);
    json_writer_init(&writer, &line);
    json_begin_object(&writer);
    json_field_string(&writer, "run_id",
                      trial->options->run_id != NULL ? trial->options->run_id : "");
    json_field_string(&writer, "phase", phase == MEASURE_WARMUP ? "warmup" : "steady");
    json_field_u64(&writer, "block", trial->blocks_count);
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
    ASSERT(!line.failed);
    enum status status = store_append_samples(store, trial->cell_id, trial->number, line.data,
                                              line.length_bytes, err);
    buf_release(&line);
    return status;
}

/* What a block says beside time. */
static void take_observation(struct trial *trial, enum measure_phase phase,
                             const struct proto_block *block)
{
    const struct proto_observation *seen = &block->observation;
    given_blocks_add(&trial->given, block, phase == MEASURE_STEADY);
    if (phase != MEASURE_STEADY)
        return;
    if (trial->measure.steady_steps_done == 0) {
        trial->has_loss_first = isfinite(seen->loss);
        trial->loss_first = seen->loss;
    }
    trial->recompiles_count += block->recompiles_count;
    for (uint32_t i = 0; block->step_ns != NULL && i < block->steps_count; i++)
        trial->steps_ns += block->step_ns[i];
    trial->last = *seen;
}

/* Is the block the one that was asked for? */
static bool is_asked_block(struct trial *trial, const struct proto_run *run,
                           const struct proto_block *block)
{
    if (block->steps_count == run->steps_count && block->sync == run->sync)
        return true;
    session_end(&trial->session, VERDICT_PROTOCOL_ERROR, "wrong_block",
                "%" PRIu32 " steps synced per %s came back where %" PRIu32 " per %s were asked for",
                block->steps_count, block->sync == PROTO_SYNC_STEP ? "step" : "block",
                run->steps_count, run->sync == PROTO_SYNC_STEP ? "step" : "block");
    return false;
}

static enum status take_block(struct trial *trial, struct store *store,
                              const struct proto_block *block, uint64_t host_ns, struct err *err)
{
    enum measure_phase phase = trial->measure.phase;
    if (!trial->hello.is_synthetic && session_saw_less(block->window_ns, host_ns))
        trial->has_clock_mismatch = true;
    take_observation(trial, phase, block);
    trial->block_apart_ns =
        block->window_ns + block->observation.prepare_ns + block->observation.observe_ns;
    enum status status = append_samples(trial, store, phase, block, err);
    if (status == STATUS_OK)
        status = measure_add_block(&trial->measure, block->steps_count, block->window_ns,
                                   block->step_ns, err);
    trial->blocks_count++;
    return status;
}

static enum status run_block(struct trial *trial, struct store *store, uint32_t steps_count,
                             struct err *err)
{
    struct proto_host_message request = {.type = PROTO_RUN, .as.run = {.steps_count = steps_count}};
    request.as.run.sync =
        trial->measure.policy.is_sync_per_block ? PROTO_SYNC_BLOCK : PROTO_SYNC_STEP;
    struct proto_worker_message reply;
    uint64_t before_ns = clock_now_ns();
    uint64_t cpu_before_ns = clock_cpu_ns();
    if (!session_ask(&trial->session, &request, PROTO_BLOCK, &reply))
        return STATUS_OK;
    uint64_t host_ns = clock_now_ns() - before_ns;
    if (trial->measure.phase == MEASURE_STEADY)
        trial->waiting_cpu_ns += clock_cpu_ns() - cpu_before_ns;
    enum status status = STATUS_OK;
    if (is_asked_block(trial, &request.as.run, &reply.as.block))
        status = take_block(trial, store, &reply.as.block, host_ns, err);
    proto_worker_message_release(&reply);
    return status;
}

/* May the next request be sent? */
static bool can_go_on(const struct trial *trial)
{
    return !trial->session.has_ended && !session_is_interrupted(&trial->session);
}

/* --- others on the machine --- */

/* The worker itself has to be one of ours: behind a launcher to elsewhere nothing can be said. */
static bool is_worker_here(const struct trial *trial)
{
    const struct watch *watch = &trial->session.watch;
    return !trial->hello.is_synthetic && (int64_t)watch->pid == trial->hello.pid;
}

static void read_load(const struct trial *trial, struct cpuload *ret_load)
{
    cpuload_read(trial->session.watch.pid, trial->session.spawn.pid, getpid(), ret_load);
}

/* While the worker is idle. */
static uint64_t look_at_pace(const struct trial *trial)
{
    bool is_wanted = trial->options->pace_best_ns != NULL && is_worker_here(trial);
    return is_wanted ? pace_measure() : 0;
}

/* Warm-up, or the figures' own part of the run. */
static void begin_phase(struct trial *trial, enum measure_phase phase)
{
    if (trial->blocks_count == 0)
        trial->pace_before_ns = look_at_pace(trial);
    if (phase == MEASURE_STEADY && is_worker_here(trial))
        read_load(trial, &trial->load_before);
    enter_phase(trial, phase == MEASURE_WARMUP ? EVENT_WARMUP : EVENT_MEASURING);
}

static void end_measuring(struct trial *trial)
{
    trial->has_load = trial->load_before.is_known;
    if (trial->has_load)
        read_load(trial, &trial->load_after);
    if (trial->measure.phase == MEASURE_DONE && !trial->session.has_ended)
        trial->pace_after_ns = look_at_pace(trial);
}

/* From deciding on a block to being ready for the next. */
static void take_turn(struct trial *trial, enum measure_phase phase, uint64_t turn_ns)
{
    if (phase == MEASURE_STEADY)
        trial->turns_ns += turn_ns;
    if (!trial->hello.is_synthetic && turn_ns >= trial->block_apart_ns)
        measure_add_overhead(&trial->measure, turn_ns - trial->block_apart_ns);
}

static enum status run_blocks(struct trial *trial, struct store *store, struct err *err)
{
    enum status status = STATUS_OK;
    enum measure_phase told = MEASURE_DONE;
    while (status == STATUS_OK && can_go_on(trial)) {
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
        status = run_block(trial, store, order.steps_count, err);
        if (trial->blocks_count == blocks_count)
            continue;
        tell_block(trial);
        take_turn(trial, order.phase, clock_now_ns() - before_ns);
    }
    end_measuring(trial);
    return status;
}

static void ask_memory(struct trial *trial)
{
    struct proto_host_message request = {.type = PROTO_MEMORY};
    struct proto_worker_message reply;
    if (!session_ask(&trial->session, &request, PROTO_MEMORY, &reply))
        return;
    trial->memory = reply.as.memory;
    trial->has_memory = true;
}

static enum status run_phases(struct trial *trial, struct store *store, struct err *err)
{
    enum status status = start_worker(trial, store, err);
    if (status == STATUS_OK && can_go_on(trial))
        open_model(trial);
    if (status == STATUS_OK && can_go_on(trial) && trial->has_ready)
        status = run_blocks(trial, store, err);
    /* After SIGINT too, if only that is missing from a whole measurement. */
    bool is_measured = trial->measure.phase == MEASURE_DONE;
    if (status == STATUS_OK && is_measured && !trial->session.has_ended)
        ask_memory(trial);
    enter_phase(trial, EVENT_CLOSING);
    session_finish(&trial->session);
    return status;
}

/* --- the trial --- */

static void begin_trial(struct trial *trial, const struct cell *cell, uint32_t number,
                        const struct supervise_options *options)
{
    trial->cell = cell;
    trial->number = number;
    trial->options = options;
    cell_id(cell, trial->cell_id);
    supervise_policy_id(&options->policy, options->launch_prefix, trial->policy_id);
    clock_stamp(trial->started_at);
    session_init(&trial->session, options);
    struct measure_policy policy = options->policy;
    if (policy.block_steps_max == 0 || policy.block_steps_max > PROTO_BLOCK_STEPS_MAX)
        policy.block_steps_max = PROTO_BLOCK_STEPS_MAX;
    measure_init(&trial->measure, &policy);
    proto_observation_init(&trial->last);
}

/* Has `tokmark check` been told of this engine, here? It compares our own presets at the defaults.
 */
static enum status look_up_check(struct trial *trial, struct err *err)
{
    const struct cell *cell = trial->cell;
    if (trial->options->results_dir == NULL || !trial->has_ready || trial->hello.is_synthetic ||
        cell->options.moe != CELL_MOE_ROUTED || cell->options.compile != CELL_COMPILE_OFF)
        return STATUS_OK;
    struct checks_wanted wanted = {.engine = cell->engine,
                                   .engine_version = trial->hello.engine_version,
                                   .harness = version_harness(),
                                   .device = cell->device,
                                   .precision = cell_precision_name(cell->precision),
                                   .mode = cell_mode_name(cell->mode),
                                   .model = cell->model.name,
                                   .weights_hash = cell->weights_hash,
                                   .is_package = provenance_is_package(&trial->ready)};
    enum status status =
        checks_find(trial->options->results_dir, &wanted, &trial->check, trial->check_run_id, err);
    trial->has_check = status == STATUS_OK && trial->check != CHECKS_NONE;
    return status;
}

/* The verdict and the record, told to listeners. */
static enum status finish_trial(struct trial *trial, struct record **ret_record, struct err *err)
{
    const struct event_listener *events = trial->options->events;
    enum status status = outcome_summarize(trial, err);
    if (status == STATUS_OK)
        status = look_up_check(trial, err);
    if (status != STATUS_OK)
        return status;
    earlier_runs_compare(trial);
    judge_trial(trial);
    status = outcome_record(trial, ret_record, err);
    if (status == STATUS_OK && events != NULL && events->cell_finished != NULL)
        events->cell_finished(events->context, *ret_record);
    return status;
}

static struct trial *trial_new(const struct cell *cell, uint32_t number,
                               const struct supervise_options *options)
{
    const struct event_listener *events = options->events;
    struct trial *trial = calloc(1, sizeof(*trial));
    if (trial == NULL)
        return NULL;
    begin_trial(trial, cell, number, options);
    if (events != NULL && events->cell_started != NULL)
        events->cell_started(events->context, cell, number);
    return trial;
}

static void trial_free(struct trial *trial)
{
    session_release(&trial->session);
    measure_release(&trial->measure);
    proto_ready_release(&trial->ready);
    free(trial);
}

enum status supervise_trial(const struct cell *cell, uint32_t trial_number,
                            const struct supervise_options *options, struct store *store,
                            struct record **ret_record, struct err *err)
{
    uint64_t before_ns = clock_now_ns();
    struct trial *trial = trial_new(cell, trial_number, options);
    if (trial == NULL)
        return ERR(err, STATUS_NOMEM, "no memory for a trial");
    struct record *record = NULL;
    enum status status = run_phases(trial, store, err);
    trial->total_ns = clock_now_ns() - before_ns;
    if (status == STATUS_OK)
        status = finish_trial(trial, &record, err);
    trial_free(trial);
    if (status == STATUS_OK)
        *ret_record = record;
    return status;
}

enum status supervise_dominated(const struct cell *cell, uint32_t trial_number,
                                const struct supervise_options *options, const struct cell *smaller,
                                struct record **ret_record, struct err *err)
{
    struct trial *trial = trial_new(cell, trial_number, options);
    if (trial == NULL)
        return ERR(err, STATUS_NOMEM, "no memory for a trial");
    session_end(&trial->session, VERDICT_OOM, "dominated",
                "not run: it needs at least the memory of %s seq %" PRIu32 " batch %" PRIu32
                ", which did not fit; --try-all runs it",
                cell_mode_name(smaller->mode), smaller->seq_len, smaller->batch_size);
    enum status status = finish_trial(trial, ret_record, err);
    trial_free(trial);
    return status;
}
