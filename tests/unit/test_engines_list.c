#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "engines/engine.h"
#include "engines/native/native.h"
#include "plan/preset.h"

Test(engines_list, every_engine_is_found_by_its_name_and_is_complete)
{
    cr_assert_geq(engine_list_count, 2);
    for (unsigned i = 0; i < engine_list_count; i++) {
        const struct engine_ops *ops = engine_list[i];
        cr_assert_eq(engine_find(ops->name), ops, "%s is listed twice", ops->name);
        cr_assert_gt(strlen(ops->summary), 10);
        if (ops->become != NULL) {
            cr_assert(ops->supports == NULL && ops->open == NULL && ops->run_step == NULL,
                      "%s becomes another program", ops->name);
            continue;
        }
        cr_assert_gt(strlen(ops->version), 0);
        cr_assert(ops->supports != NULL && ops->open != NULL && ops->run_step != NULL &&
                  ops->close != NULL);
    }
    cr_assert_not_null(engine_find("null"));
    cr_assert_not_null(engine_find("sandbox"));
}

Test(engines_list, only_the_sandbox_makes_time_up)
{
    for (unsigned i = 0; i < engine_list_count; i++)
        cr_assert_eq(engine_list[i]->synthetic_step_ns != NULL,
                     strcmp(engine_list[i]->name, "sandbox") == 0);
}

Test(engines_list, unknown_names_are_not_found)
{
    cr_assert_null(engine_find("nul"));
    cr_assert_null(engine_find(""));
    cr_assert_null(engine_find("NULL"));
}

static double native_step_ns(enum cell_mode mode, uint32_t batch_size)
{
    struct cell cell = {.mode = mode,
                        .precision = CELL_PRECISION_FP32,
                        .seq_len = 128,
                        .batch_size = batch_size,
                        .threads_count = 1};
    struct engine_prediction prediction = {0};
    struct err err = {0};
    cr_assert_eq(preset_load("superintelligence-tiny", &cell.model, &err), STATUS_OK, "%s",
                 err.text);
    (void)snprintf(cell.device, sizeof(cell.device), "cpu");
    cr_assert_eq(native_engine.predict(&cell, &prediction, &err), STATUS_OK, "%s", err.text);
    return prediction.step_ns_estimate;
}

/* --dry-run tells it: a share that goes with the rows, and one of the weights that does not. */
Test(engines_list, native_s_time_is_that_of_its_work_and_its_weights)
{
    double one = native_step_ns(CELL_MODE_INFER, 1);
    double two = native_step_ns(CELL_MODE_INFER, 2);
    double four = native_step_ns(CELL_MODE_INFER, 4);
    double weights = one - (two - one);
    cr_assert_gt(two, one);
    cr_assert_gt(weights, 0);
    cr_assert_float_eq(four, weights + 4 * (two - one), 1);
    /* one token a row reads as many weights, and a cache */
    cr_assert_gt(native_step_ns(CELL_MODE_DECODE, 1), weights);
    cr_assert_lt(native_step_ns(CELL_MODE_DECODE, 1), one);
    cr_assert_gt(native_step_ns(CELL_MODE_TRAIN, 1), 3 * one);
}
