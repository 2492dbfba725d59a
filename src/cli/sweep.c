#include "cli/sweep.h"

#include <stdlib.h>
#include <string.h>

#include "client/fork_pool.h"
#include "observe/readings.h"
#include "plan/order.h"
#include "result/names.h"

/* What is known of one cell so far. */
struct sweep_cell {
    struct measure_reading *readings; /* owned; of its trials, this call's and earlier ones' */
    size_t readings_count;
    bool has_fitted; /* it was measured in this sweep, so its memory was there */
};

bool sweep_is_shuffled(const struct run_setup *setup)
{
    return setup->options.trials > 1;
}

void sweep_order(const struct run_setup *setup, uint32_t trial, size_t *ret_order)
{
    size_t count = setup->plan.cells_count;
    if (sweep_is_shuffled(setup)) {
        plan_shuffle(setup->options.cell.seed, trial, count, ret_order);
        return;
    }
    for (size_t i = 0; i < count; i++)
        ret_order[i] = i;
}

static bool has_verdict(const struct record *record, enum verdict verdict)
{
    return strcmp(record_string(record, FACT_VERDICT), verdict_name(verdict)) == 0;
}

/* --- what did not fit --- */

static bool is_proof(const struct record *record)
{
    enum verdict verdict = VERDICT_OK;
    return verdict_parse(record_string(record, FACT_VERDICT), &verdict) &&
           reasons_prove_unfit(verdict, record_reasons(record, FACT_REASONS));
}

static const struct cell *find_smaller(const struct sweep *sweep, const struct cell *cell)
{
    const struct cell *cells = sweep->setup->plan.cells;
    if (sweep->setup->options.tries_all)
        return NULL;
    for (size_t i = 0; i < sweep->unfit_count; i++)
        if (cell_needs_memory_of(cell, &cells[sweep->unfit[i]]))
            return &cells[sweep->unfit[i]];
    return NULL;
}

/* In a shuffled order a larger cell may have fitted before: then the memory is there, and what was
 * short was short for another reason. */
static bool has_larger_fitted(const struct sweep *sweep, size_t place)
{
    const struct cell *cells = sweep->setup->plan.cells;
    for (size_t i = 0; i < sweep->setup->plan.cells_count; i++)
        if (sweep->cells[i].has_fitted && cell_needs_memory_of(&cells[i], &cells[place]))
            return true;
    return false;
}

static enum status keep_unfit(struct sweep *sweep, size_t place, struct err *err)
{
    if (has_larger_fitted(sweep, place))
        return STATUS_OK;
    size_t *unfit = reallocarray(sweep->unfit, sweep->unfit_count + 1, sizeof(unfit[0]));
    if (unfit == NULL)
        return ERR(err, STATUS_NOMEM, "no memory for the sweep");
    unfit[sweep->unfit_count++] = place;
    sweep->unfit = unfit;
    return STATUS_OK;
}

/* --- trials --- */

/* Is a record there that --resume goes by? */
static bool is_finished(const struct sweep *sweep, const struct cell *cell, uint32_t trial)
{
    const struct run_setup *setup = sweep->setup;
    char id[HASH_ID_BYTES];
    if (setup->options.resume == RUN_RESUME_NO)
        return false;
    cell_id(cell, id);
    const char *environment_id = sweep->options->origin.environment_id;
    return store_has_finished(sweep->store, id, setup->policy_id, trial, environment_id) &&
           (setup->options.resume != RUN_RESUME_UNSTEADY ||
            !store_is_unsteady(sweep->store, id, setup->policy_id, trial, environment_id));
}

static enum status keep_reading(struct sweep_cell *cell, const struct measure_reading *reading,
                                struct err *err)
{
    struct measure_reading *readings =
        reallocarray(cell->readings, cell->readings_count + 1, sizeof(readings[0]));
    if (readings == NULL)
        return ERR(err, STATUS_NOMEM, "no memory for the sweep's trials");
    readings[cell->readings_count++] = *reading;
    cell->readings = readings;
    return STATUS_OK;
}

/* What --resume finds of earlier calls counts among the trials. */
static enum status load_readings(struct sweep *sweep, struct err *err)
{
    const struct run_setup *setup = sweep->setup;
    enum status status = STATUS_OK;
    if (setup->options.resume == RUN_RESUME_NO || setup->options.trials == 1)
        return STATUS_OK;
    for (size_t i = 0; status == STATUS_OK && i < setup->plan.cells_count; i++) {
        char id[HASH_ID_BYTES];
        cell_id(&setup->plan.cells[i], id);
        for (uint32_t trial = 0; status == STATUS_OK && trial < setup->options.trials; trial++) {
            struct store_median median;
            if (!is_finished(sweep, &setup->plan.cells[i], trial) ||
                !store_find_median(sweep->store, id, setup->policy_id, trial,
                                   sweep->options->origin.environment_id, &median))
                continue;
            struct measure_reading reading = reading_of_median(&median);
            status = keep_reading(&sweep->cells[i], &reading, err);
        }
    }
    return status;
}

/* --- the sweep --- */

/* Keeps what follows from a record that is stored,  from it for the cells to come. */
static enum status take_record(struct sweep *sweep, size_t place, const struct record *record,
                               bool is_dominated, struct err *err)
{
    const struct cell *cell = &sweep->setup->plan.cells[place];
    struct measure_reading reading;
    canary_take(&sweep->canary, cell, record, &sweep->options->policy);
    sweep->cells[place].has_fitted |= !record_is_null(record, FACT_MS_PER_STEP);
    known_take(sweep->known, record);
    enum status status = STATUS_OK;
    if (reading_of_record(record, &reading))
        status = keep_reading(&sweep->cells[place], &reading, err);
    if (status == STATUS_OK && !is_dominated && is_proof(record))
        status = keep_unfit(sweep, place, err);
    return status;
}

static enum status run_trial(struct sweep *sweep, size_t place, uint32_t trial, uint64_t position,
                             struct record **ret_lost, struct err *err)
{
    struct record *record = NULL;
    const struct cell *cell = &sweep->setup->plan.cells[place];
    const struct sweep_facts facts = {
        .position = position,
        .is_shuffled = sweep_is_shuffled(sweep->setup),
        .trials = sweep->cells[place].readings,
        .trials_count = sweep->cells[place].readings_count,
    };
    const struct canary_facts canary = {
        .change = sweep->canary.change,
        .unknown_reason = canary_why_unknown(&sweep->canary),
    };
    struct trial_options options = *sweep->options;
    options.sweep = &facts;
    options.observe.canary = &canary;
    options.observe.trials = facts.trials;
    options.observe.trials_count = facts.trials_count;
    const struct cell *smaller = find_smaller(sweep, cell);
    enum status status = smaller != NULL
                             ? trial_dominated(cell, trial, &options, smaller, &record, err)
                             : trial_run(cell, trial, &options, sweep->store, &record, err);
    if (status != STATUS_OK)
        return status;
    sweep->is_interrupted |= has_verdict(record, VERDICT_INTERRUPTED);
    /* Made-up results need not outlive a power cut. */
    bool is_durable = !record_bool(record, FACT_SYNTHETIC);
    status = store_append(sweep->store, record, is_durable, err);
    if (status != STATUS_OK) {
        *ret_lost = record;
        return status;
    }
    events_record_stored(options.client.events, record, RESULT_JSONL_NAME,
                         store_last_offset(sweep->store));
    status = take_record(sweep, place, record, smaller != NULL, err);
    record_free(record);
    return status;
}

static bool is_stopped(struct sweep *sweep)
{
    sweep->is_interrupted |= *sweep->options->client.interrupt != 0;
    return sweep->is_interrupted;
}

static enum status check_canary(struct sweep *sweep, bool is_end, uint64_t position,
                                struct record **ret_lost, struct err *err)
{
    if (is_stopped(sweep))
        return STATUS_OK;
    return canary_check(&sweep->canary, is_end, position, sweep_is_shuffled(sweep->setup),
                        sweep->options, sweep->store, &sweep->is_interrupted, ret_lost, err);
}

static void tell_skipped(const struct sweep *sweep, const struct cell *cell, uint32_t trial,
                         uint64_t position)
{
    char id[HASH_ID_BYTES];
    cell_id(cell, id);
    const struct event_cell skipped = {
        .cell = cell, .cell_id = id, .trial = trial, .position = position};
    events_cell_skipped(sweep->options->client.events, &skipped);
}

/* A trial of a cell, unless a finished record is there or the sweep is stopped. */
static enum status take_turn(struct sweep *sweep, size_t place, uint32_t trial, uint64_t position,
                             struct record **ret_lost, struct err *err)
{
    if (is_finished(sweep, &sweep->setup->plan.cells[place], trial)) {
        sweep->skipped_count++;
        tell_skipped(sweep, &sweep->setup->plan.cells[place], trial, position);
        return STATUS_OK;
    }
    enum status status = check_canary(sweep, false, position, ret_lost, err);
    if (status != STATUS_OK)
        return status;
    if (!is_stopped(sweep))
        return run_trial(sweep, place, trial, position, ret_lost, err);
    if (sweep->not_started_count++ == 0)
        sweep->not_started_place = place;
    return STATUS_OK;
}

static enum status run_all(struct sweep *sweep, struct record **ret_lost, struct err *err)
{
    const struct run_setup *setup = sweep->setup;
    uint64_t position = 0;
    for (uint32_t trial = 0; trial < setup->options.trials; trial++) {
        sweep_order(setup, trial, sweep->order);
        if (trial > 0)
            fork_pool_renew(sweep->options->client.fork_pool);
        for (size_t i = 0; i < setup->plan.cells_count; i++, position++) {
            enum status status = take_turn(sweep, sweep->order[i], trial, position, ret_lost, err);
            if (status != STATUS_OK)
                return status;
        }
    }
    return check_canary(sweep, true, position, ret_lost, err);
}

enum status sweep_run(struct sweep *sweep, struct record **ret_lost, struct err *err)
{
    *ret_lost = NULL;
    size_t cells_count = sweep->setup->plan.cells_count;
    sweep->cells = calloc(cells_count, sizeof(*sweep->cells));
    sweep->order = calloc(cells_count, sizeof(*sweep->order));
    enum status status = sweep->cells == NULL || sweep->order == NULL
                             ? ERR(err, STATUS_NOMEM, "no memory for the sweep")
                             : load_readings(sweep, err);
    if (status == STATUS_OK)
        status = run_all(sweep, ret_lost, err);
    for (size_t i = 0; sweep->cells != NULL && i < cells_count; i++)
        free(sweep->cells[i].readings);
    free(sweep->cells);
    free(sweep->order);
    free(sweep->unfit);
    sweep->cells = NULL;
    sweep->order = NULL;
    sweep->unfit = NULL;
    sweep->unfit_count = 0;
    return status;
}
