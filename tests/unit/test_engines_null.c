#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "engines/engine.h"
#include "engines/null/null.h"
#include "plan/preset.h"

static struct cell null_cell(void)
{
    struct cell cell = {.mode = CELL_MODE_TRAIN, .seq_len = 128, .batch_size = 2};
    struct err err = {0};
    cr_assert_eq(preset_load("superintelligence-tiny", &cell.model, &err), STATUS_OK);
    cell.model.max_seq_len = cell.seq_len;
    (void)snprintf(cell.device, sizeof(cell.device), "cpu");
    (void)snprintf(cell.model_source, sizeof(cell.model_source), "preset");
    return cell;
}

Test(engines_null, runs_a_whole_life)
{
    struct cell cell = null_cell();
    struct err err = {0};
    struct engine_prediction prediction;
    struct proto_ready ready;
    void *context = NULL;
    cr_assert_eq(null_engine.supports(&cell, &err), STATUS_OK);
    cr_assert_eq(null_engine.predict(&cell, &prediction, &err), STATUS_OK);
    cr_assert(prediction.memory.is_known);
    cr_assert_lt(prediction.memory.total_bytes, 4096);
    cr_assert_eq(null_engine.open(&cell, &context, &ready, &err), STATUS_OK);
    cr_assert_eq(ready.params_total, model_params_total(&cell.model));
    cr_assert_str_eq(ready.model_source, "preset");
    cr_assert_str_eq(ready.dtype_compute, "", "nothing is computed, in no precision");
    for (int i = 0; i < 1000; i++)
        cr_assert_eq(null_engine.run_step(context, &err), STATUS_OK);
    cr_assert_eq(null_engine.synchronize(context, &err), STATUS_OK);
    struct proto_observation observation = {.loss = NAN, .grad_norm = NAN};
    null_engine.observe(context, &observation);
    cr_assert(isnan(observation.loss));
    cr_assert_eq(observation.experts_count, 0);
    null_engine.close(context);
    null_engine.close(NULL);
}

Test(engines_null, its_time_is_measured_and_not_made_up)
{
    cr_assert_null(null_engine.synthetic_step_ns);
}

Test(engines_null, a_device_it_does_not_use_is_refused)
{
    struct cell cell = null_cell();
    (void)snprintf(cell.device, sizeof(cell.device), "cuda:0");
    struct err err = {0};
    cr_assert_eq(null_engine.supports(&cell, &err), STATUS_UNSUPPORTED);
    cr_assert(strstr(err.text, "'cpu'") != NULL, "%s", err.text);
}
