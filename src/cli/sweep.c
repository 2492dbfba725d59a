#include "cli/sweep.h"

#include <stdlib.h>
#include <string.h>

static bool has_verdict(const struct record *record, enum verdict verdict)
{
    return strcmp(record_string(record, RECORD_VERDICT), verdict_name(verdict)) == 0;
}

static void count(struct sweep *sweep, const struct record *record)
{
    sweep->measured_count++;
    if (has_verdict(record, VERDICT_OK))
        sweep->ok_count++;
    sweep->is_interrupted |= has_verdict(record, VERDICT_INTERRUPTED);
    if (!record_is_null(record, RECORD_MS_PER_STEP))
        sweep->figures_count++;
}

/* --- what did not fit --- */

/* Did the cell itself not fit? Where others had taken the host's memory nothing follows from it. */
static bool is_proof(const struct record *record)
{
    return has_verdict(record, VERDICT_OOM) &&
           strstr(record_string(record, RECORD_REASONS), "\"host_memory_low\"") == NULL;
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

static enum status keep_unfit(struct sweep *sweep, const struct cell *cell, struct err *err)
{
    size_t *unfit = reallocarray(sweep->unfit, sweep->unfit_count + 1, sizeof(unfit[0]));
    if (unfit == NULL)
        return ERR(err, STATUS_NOMEM, "no memory for the sweep");
    unfit[sweep->unfit_count++] = (size_t)(cell - sweep->setup->plan.cells);
    sweep->unfit = unfit;
    return STATUS_OK;
}

/* --- the sweep --- */

static enum status run_trial(struct sweep *sweep, const struct cell *cell, uint32_t trial,
                             struct record **ret_lost, struct err *err)
{
    struct record *record = NULL;
    const struct cell *smaller = find_smaller(sweep, cell);
    enum status status =
        smaller != NULL
            ? supervise_dominated(cell, trial, sweep->supervise, smaller, &record, err)
            : supervise_trial(cell, trial, sweep->supervise, sweep->store, &record, err);
    if (status != STATUS_OK)
        return status;
    count(sweep, record);
    /* Made-up figures need not outlive a power cut. */
    bool is_durable = !record_bool(record, RECORD_SYNTHETIC);
    status = store_append(sweep->store, record, is_durable, err);
    if (status != STATUS_OK) {
        *ret_lost = record;
        return status;
    }
    status = table_add(sweep->table, record, err);
    if (status == STATUS_OK && smaller == NULL && is_proof(record))
        status = keep_unfit(sweep, cell, err);
    record_free(record);
    return status;
}

static bool is_finished(const struct sweep *sweep, const struct cell *cell, uint32_t trial)
{
    const struct run_setup *setup = sweep->setup;
    char id[HASH_ID_BYTES];
    if (!setup->options.can_resume)
        return false;
    cell_id(cell, id);
    return store_has_finished(sweep->store, id, setup->policy_id, trial,
                              sweep->supervise->environment_id);
}

static enum status run_all(struct sweep *sweep, struct record **ret_lost, struct err *err)
{
    const struct run_setup *setup = sweep->setup;
    for (uint32_t trial = 0; trial < setup->options.trials; trial++) {
        for (size_t i = 0; i < setup->plan.cells_count; i++) {
            if (*sweep->supervise->interrupt != 0) {
                sweep->is_interrupted = true;
                return STATUS_OK;
            }
            const struct cell *cell = &setup->plan.cells[i];
            if (is_finished(sweep, cell, trial)) {
                sweep->skipped_count++;
                progress_skip(sweep->progress);
                continue;
            }
            enum status status = run_trial(sweep, cell, trial, ret_lost, err);
            if (status != STATUS_OK)
                return status;
        }
    }
    return STATUS_OK;
}

enum status sweep_run(struct sweep *sweep, struct record **ret_lost, struct err *err)
{
    *ret_lost = NULL;
    enum status status = run_all(sweep, ret_lost, err);
    free(sweep->unfit);
    sweep->unfit = NULL;
    sweep->unfit_count = 0;
    return status;
}
