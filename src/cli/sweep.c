#include "cli/sweep.h"

#include <string.h>

static void count(struct sweep *sweep, const struct record *record)
{
    const char *verdict = record_string(record, RECORD_VERDICT);
    sweep->measured_count++;
    if (strcmp(verdict, verdict_name(VERDICT_OK)) == 0)
        sweep->ok_count++;
    sweep->is_interrupted |= strcmp(verdict, verdict_name(VERDICT_INTERRUPTED)) == 0;
    if (!record_is_null(record, RECORD_MS_PER_STEP))
        sweep->figures_count++;
}

static enum status run_trial(struct sweep *sweep, const struct cell *cell, uint32_t trial,
                             struct record **ret_lost, struct err *err)
{
    struct record *record = NULL;
    enum status status = supervise_trial(cell, trial, sweep->supervise, sweep->store, &record, err);
    if (status != STATUS_OK)
        return status;
    count(sweep, record);
    bool is_durable = !record_bool(record, RECORD_SYNTHETIC);
    status = store_append(sweep->store, record, is_durable, err);
    if (status != STATUS_OK) {
        *ret_lost = record;
        return status;
    }
    status = table_add(sweep->table, record, err);
    record_free(record);
    return status;
}

enum status sweep_run(struct sweep *sweep, struct record **ret_lost, struct err *err)
{
    const struct run_setup *setup = sweep->setup;
    *ret_lost = NULL;
    for (uint32_t trial = 0; trial < setup->options.trials; trial++) {
        for (size_t i = 0; i < setup->plan.cells_count; i++) {
            if (*sweep->supervise->interrupt != 0) {
                sweep->is_interrupted = true;
                return STATUS_OK;
            }
            const struct cell *cell = &setup->plan.cells[i];
            char id[HASH_ID_BYTES];
            cell_id(cell, id);
            if (setup->options.can_resume &&
                store_has_finished(sweep->store, id, setup->policy_id, trial,
                                   sweep->supervise->environment_id)) {
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
