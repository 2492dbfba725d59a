#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engines/sandbox/sandbox.h"
#include "measure/quantile.h"
#include "plan/preset.h"

#define STEPS 400

static struct cell sandbox_cell(const char *model, enum cell_mode mode)
{
    struct cell cell = {
        .mode = mode, .precision = CELL_PRECISION_BF16, .seq_len = 512, .batch_size = 8, .seed = 1};
    struct err err = {0};
    cr_assert_eq(preset_load(model, &cell.model, &err), STATUS_OK, "%s", err.text);
    cell.model.max_seq_len = cell.seq_len;
    (void)snprintf(cell.engine, sizeof(cell.engine), "sandbox");
    (void)snprintf(cell.device, sizeof(cell.device), "cpu");
    return cell;
}

struct results {
    uint64_t ns[STEPS];
    double loss_first;
    double loss_last;
    double grad_norm;
    struct proto_observation observation;
    struct proto_memory memory;
    struct proto_ready ready;
};

static struct results *run(const struct cell *cell)
{
    struct results *results = calloc(1, sizeof(*results));
    struct err err = {0};
    void *context = NULL;
    cr_assert_eq(sandbox_engine.supports(cell, &err), STATUS_OK);
    cr_assert_eq(sandbox_engine.open(cell, &context, &results->ready, &err), STATUS_OK);
    for (int i = 0; i < STEPS; i++) {
        cr_assert_eq(sandbox_engine.run_step(context, &err), STATUS_OK);
        results->ns[i] = sandbox_engine.synthetic_step_ns(context);
        results->observation = (struct proto_observation){.loss = NAN, .grad_norm = NAN};
        sandbox_engine.observe(context, &results->observation);
        if (i == 0)
            results->loss_first = results->observation.loss;
    }
    results->loss_last = results->observation.loss;
    results->grad_norm = results->observation.grad_norm;
    sandbox_engine.memory(context, &results->memory);
    sandbox_engine.close(context);
    return results;
}

static double median_ns(const struct cell *cell)
{
    struct results *results = run(cell);
    double values[STEPS];
    for (int i = 0; i < STEPS; i++)
        values[i] = (double)results->ns[i];
    quantile_sort(values, STEPS);
    free(results);
    return quantile_median(values, STEPS);
}

Test(engines_sandbox, equal_cells_give_equal_figures)
{
    struct cell cell = sandbox_cell("superintelligence", CELL_MODE_TRAIN);
    struct results *a = run(&cell);
    struct results *b = run(&cell);
    cr_assert_eq(memcmp(a->ns, b->ns, sizeof(a->ns)), 0);
    cr_assert_eq(a->loss_last, b->loss_last);
    cr_assert_eq(a->grad_norm, b->grad_norm);
    free(a);
    free(b);
}

Test(engines_sandbox, another_seed_or_cell_gives_other_noise)
{
    struct cell cell = sandbox_cell("superintelligence", CELL_MODE_TRAIN);
    struct results *a = run(&cell);
    cell.seed = 2;
    struct results *b = run(&cell);
    int equal = 0;
    for (int i = 0; i < STEPS; i++)
        equal += a->ns[i] == b->ns[i];
    cr_assert_lt(equal, 4);
    cr_assert_neq(a->loss_last, b->loss_last);
    free(b);
    /* The same nominal step, and yet other noise. */
    cell.seed = 1;
    (void)snprintf(cell.framework, sizeof(cell.framework), "jax-sandbox");
    b = run(&cell);
    cr_assert_neq(memcmp(a->ns, b->ns, sizeof(a->ns)), 0);
    free(a);
    free(b);
}

Test(engines_sandbox, noise_is_small_and_the_start_is_slow)
{
    struct cell cell = sandbox_cell("superintelligence-tiny", CELL_MODE_INFER);
    struct results *results = run(&cell);
    double median = median_ns(&cell);
    cr_assert_gt((double)results->ns[0], 4 * median);
    for (int i = 20; i < STEPS; i++)
        cr_assert(fabs((double)results->ns[i] / median - 1) < 0.2, "step %d", i);
    free(results);
}

Test(engines_sandbox, times_are_in_a_plausible_order)
{
    struct cell base = sandbox_cell("superintelligence-tiny", CELL_MODE_INFER);
    double infer = median_ns(&base);

    struct cell cell = base;
    cell.mode = CELL_MODE_TRAIN;
    cr_assert_gt(median_ns(&cell), 2 * infer, "train costs three times the operations");
    cell.mode = CELL_MODE_DECODE;
    cr_assert_lt(median_ns(&cell), infer, "one token a row is less than all of them");
    double decode = median_ns(&cell);
    cell.seq_len = 2048;
    cell.model.max_seq_len = 2048;
    cr_assert_gt(median_ns(&cell), decode, "a longer cache is more to read");

    cell = base;
    cell.batch_size = 32;
    cr_assert_gt(median_ns(&cell), 2 * infer);
    cell = base;
    cell.seq_len = 2048;
    cr_assert_gt(median_ns(&cell), 2 * infer);
    cell = base;
    cell.precision = CELL_PRECISION_FP32;
    cr_assert_gt(median_ns(&cell), infer);
    cell = base;
    (void)snprintf(cell.device, sizeof(cell.device), "cuda:0");
    cr_assert_lt(median_ns(&cell), infer);
    cell = sandbox_cell("superintelligence-190m", CELL_MODE_INFER);
    cr_assert_gt(median_ns(&cell), infer);
}

/* infer of gpt2-124m, 8 x 512 tokens, bf16 on the nominal CPU, by hand: 0.2 ms + operations at 1e12
 * per second + 4 bytes a parameter at 50e9 per second. */
Test(engines_sandbox, the_step_time_is_the_documented_formula)
{
    struct cell cell = sandbox_cell("gpt2-124m", CELL_MODE_INFER);
    double matrix = 12 * (4.0 * 768 * 768 + 2.0 * 768 * 3072) + 768.0 * 50257;
    double flops = 8 * 512 * (2 * matrix + 4.0 * 12 * 768 * 512);
    double params = 124439808.0 - (1024 - 512) * 768;
    double wanted_ns = 0.2e6 + flops / 1e12 * 1e9 + 4 * params / 50e9 * 1e9;
    struct engine_prediction prediction;
    struct err err = {0};
    cr_assert_eq(sandbox_engine.predict(&cell, &prediction, &err), STATUS_OK);
    cr_assert_float_eq(prediction.step_ns_estimate / wanted_ns, 1, 1e-9);
    cr_assert_float_eq(median_ns(&cell) / wanted_ns, 1, 0.01);
}

Test(engines_sandbox, losses_fall_in_training_and_stay_in_inference)
{
    struct cell cell = sandbox_cell("superintelligence-tiny", CELL_MODE_TRAIN);
    struct results *results = run(&cell);
    cr_assert_float_eq(results->loss_first, log(8192), 0.1);
    cr_assert_lt(results->loss_last, 0.8 * results->loss_first);
    cr_assert_gt(results->loss_last, 1);
    cr_assert_gt(results->grad_norm, 0);
    cr_assert(results->observation.has_nonfinite);
    cr_assert_eq(results->observation.nonfinite, 0);
    free(results);
    cell.mode = CELL_MODE_INFER;
    results = run(&cell);
    cr_assert_float_eq(results->loss_last, log(8192), 0.1);
    cr_assert(isnan(results->grad_norm));
    free(results);
    cell.mode = CELL_MODE_DECODE;
    results = run(&cell);
    cr_assert(isnan(results->loss_last), "no target, no loss");
    free(results);
}

Test(engines_sandbox, experts_share_every_token)
{
    struct cell cell = sandbox_cell("superintelligence-tiny", CELL_MODE_TRAIN);
    struct results *results = run(&cell);
    const struct proto_observation *observation = &results->observation;
    cr_assert_eq(observation->experts_count, 8);
    uint64_t sum = 0;
    for (int i = 0; i < 8; i++) {
        cr_assert_gt(observation->expert_tokens[i], 0);
        sum += observation->expert_tokens[i];
    }
    cr_assert_eq(sum, 8ull * 512 * 4 * 2 * STEPS, "tokens x layers x top 2 x steps");
    free(results);
    cell = sandbox_cell("gpt2-124m", CELL_MODE_TRAIN);
    results = run(&cell);
    cr_assert_eq(results->observation.experts_count, 0);
    free(results);
}

Test(engines_sandbox, memory_is_arithmetic_on_parameters_and_tokens)
{
    struct cell cell = sandbox_cell("superintelligence", CELL_MODE_TRAIN);
    struct results *results = run(&cell);
    const struct proto_memory_parts *parts = &results->memory.parts;
    uint64_t weights = 4 * model_params_total(&cell.model);
    cr_assert(parts->is_known);
    cr_assert_eq(parts->weights_bytes, weights);
    cr_assert_eq(parts->gradients_bytes, weights);
    cr_assert_eq(parts->optimizer_bytes, 2 * weights);
    cr_assert_eq(parts->kv_cache_bytes, 0);
    cr_assert_gt(parts->total_bytes, 4 * weights);
    cr_assert_eq(results->ready.memory_predicted.total_bytes, parts->total_bytes);
    cr_assert_leq(results->memory.allocated_bytes, results->memory.peak_bytes);
    cr_assert_leq(results->memory.peak_bytes, results->memory.reserved_bytes);
    free(results);
    cell = sandbox_cell("gpt2-124m", CELL_MODE_DECODE);
    results = run(&cell);
    cr_assert_eq(results->memory.parts.gradients_bytes, 0);
    /* keys and values: 2 x 12 layers x 8 rows x 512 positions x 768, in bf16 */
    cr_assert_eq(results->memory.parts.kv_cache_bytes, 2ull * 12 * 8 * 512 * 768 * 2);
    free(results);
}

/* The worker refuses cells by predict()'s memory; of this engine's it would take none. */
Test(engines_sandbox, no_cell_is_refused_for_memory)
{
    struct cell cell = sandbox_cell("superintelligence", CELL_MODE_TRAIN);
    cell.batch_size = 1 << 20;
    struct engine_prediction prediction;
    struct err err = {0};
    cr_assert_eq(sandbox_engine.predict(&cell, &prediction, &err), STATUS_OK);
    cr_assert_not(prediction.memory.is_known);
}

Test(engines_sandbox, every_mode_precision_and_device_works)
{
    const char *const devices[] = {"cpu", "cuda:0", "cuda:7", "tpu"};
    for (size_t i = 0; i < ARRAY_COUNT(devices) * CELL_MODE_COUNT * CELL_PRECISION_COUNT; i++) {
        struct cell cell = sandbox_cell("superintelligence-tiny", (enum cell_mode)(i % 3));
        cell.precision = (enum cell_precision)(i / 3 % CELL_PRECISION_COUNT);
        (void)snprintf(cell.device, sizeof(cell.device), "%s", devices[i / 18]);
        struct results *results = run(&cell);
        cr_assert_gt(results->ns[STEPS - 1], 1000);
        cr_assert_gt(strlen(results->ready.dtype_compute), 0);
        cr_assert_eq(results->ready.tf32, cell.precision == CELL_PRECISION_TF32);
        free(results);
    }
}

Test(engines_sandbox, absurd_sizes_do_not_overflow)
{
    struct cell cell = sandbox_cell("superintelligence", CELL_MODE_TRAIN);
    cell.batch_size = UINT32_MAX;
    cell.seq_len = 1 << 24;
    struct results *results = run(&cell);
    for (int i = 0; i < STEPS; i++)
        cr_assert_gt(results->ns[i], 0);
    free(results);
}
