#include "engines/sandbox/sandbox.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/random.h"
#include "spec/device.h"

/* Streams of one cell's key, so that no value shares its noise with another. */
enum stream { STREAM_TIME, STREAM_STALL, STREAM_LOSS, STREAM_NORM, STREAM_EXPERTS };

struct sandbox_context {
    struct cell cell;
    uint64_t key;
    double step_ns;      /* before noise */
    uint64_t steps_done; /* since open */
    struct proto_memory_parts memory;
};

/* --- nominal machine --- */

/* Borrowed: static. */
struct precision_traits {
    double cpu_flops;
    double device_flops;
    uint32_t param_bytes;
    uint32_t compute_bytes;
    const char *param;
    const char *compute;
    const char *accumulate;
};

static const struct precision_traits precisions[] = {
    [CELL_PRECISION_FP32] = {0.5e12, 40e12, 4, 4, "fp32", "fp32", "fp32"},
    [CELL_PRECISION_TF32] = {0.5e12, 250e12, 4, 4, "fp32", "tf32", "fp32"},
    [CELL_PRECISION_BF16] = {1e12, 500e12, 4, 2, "fp32", "bf16", "fp32"},
    [CELL_PRECISION_BF16_PURE] = {1e12, 500e12, 2, 2, "bf16", "bf16", "fp32"},
    [CELL_PRECISION_FP16] = {0.8e12, 500e12, 4, 2, "fp32", "fp16", "fp32"},
    [CELL_PRECISION_INT8] = {2e12, 900e12, 1, 1, "int8", "int8", "int32"},
};
_Static_assert(ARRAY_COUNT(precisions) == CELL_PRECISION_COUNT, "a precision has no row");

static const struct precision_traits *traits_of(const struct cell *cell)
{
    ASSERT((size_t)cell->precision < ARRAY_COUNT(precisions));
    return &precisions[cell->precision];
}

static double step_flops(const struct cell *cell)
{
    double forward =
        model_forward_flops(&cell->model, (double)cell_tokens_per_step(cell), cell->seq_len);
    return cell->mode == CELL_MODE_TRAIN ? 3 * forward : forward;
}

/* --- memory --- */

static uint64_t kv_cache_bytes(const struct cell *cell)
{
    if (cell->mode != CELL_MODE_DECODE)
        return 0;
    uint64_t positions = (uint64_t)cell->batch_size * cell->seq_len;
    return 2ULL * cell->model.layers_count * positions * cell->model.dim *
           traits_of(cell)->compute_bytes;
}

/* A rough count of what a token leaves in one layer: 16 rows of dim (residuals, norms, q, k, v,
 * attention and their like) and three hidden rows for each chosen expert. Train keeps all layers,
 * the others one. */
static uint64_t activation_bytes(const struct cell *cell)
{
    const struct model_spec *model = &cell->model;
    uint64_t tokens = cell_tokens_per_step(cell);
    uint64_t per_token = 16ULL * model->dim + 3ULL * model->experts_active * model->ffn_hidden;
    uint64_t layers = cell->mode == CELL_MODE_TRAIN ? model->layers_count : 1;
    uint64_t logits = tokens * model->vocab_size * 4;
    return tokens * per_token * layers * traits_of(cell)->compute_bytes + logits;
}

static struct proto_memory_parts memory_parts(const struct cell *cell)
{
    uint64_t weights = model_params_total(&cell->model) * traits_of(cell)->param_bytes;
    bool is_train = cell->mode == CELL_MODE_TRAIN;
    struct proto_memory_parts parts = {
        .is_known = true,
        .weights_bytes = weights,
        .gradients_bytes = is_train ? weights : 0,
        .optimizer_bytes = is_train ? 2 * weights : 0,
        .activations_bytes = activation_bytes(cell),
        .kv_cache_bytes = kv_cache_bytes(cell),
        .workspace_bytes = 32ULL << 20,
        .other_bytes = 8ULL << 20,
    };
    parts.total_bytes = parts.weights_bytes + parts.gradients_bytes + parts.optimizer_bytes +
                        parts.activations_bytes + parts.kv_cache_bytes + parts.workspace_bytes +
                        parts.other_bytes;
    return parts;
}

/* --- time --- */

static double nominal_step_ns(const struct cell *cell)
{
    const struct precision_traits *traits = traits_of(cell);
    struct proto_memory_parts memory = memory_parts(cell);
    double flops_rate = device_is_host(cell->device) ? traits->cpu_flops : traits->device_flops;
    double bytes_rate = device_is_host(cell->device) ? 50e9 : 3000e9;
    double overhead_ns = device_is_host(cell->device) ? 200e3 : 50e3;
    /* Train reads weights forward and backward and reads and writes them and their states in AdamW.
     */
    double passes = cell->mode == CELL_MODE_TRAIN ? 8 : 1;
    double bytes = passes * (double)memory.weights_bytes + (double)memory.kv_cache_bytes;
    return overhead_ns + 1e9 * (step_flops(cell) / flops_rate + bytes / bytes_rate);
}

static double unit_at(const struct sandbox_context *sandbox, enum stream stream, uint64_t counter)
{
    return random_unit(random_at(random_key(sandbox->key, stream), counter));
}

/* About normal with deviation 1: a sum of uniforms. */
static double normal_at(const struct sandbox_context *sandbox, enum stream stream, uint64_t step)
{
    double sum = 0;
    for (uint64_t i = 0; i < 4; i++)
        sum += unit_at(sandbox, stream, 4 * step + i);
    return (sum - 2) * sqrt(3.0);
}

/* A slow start that warm-up has to sit out, 1 % of noise, and now and then a stall. */
static uint64_t sandbox_synthetic_step_ns(void *context)
{
    const struct sandbox_context *sandbox = context;
    ASSERT(sandbox->steps_done > 0);
    uint64_t step = sandbox->steps_done - 1;
    double factor = 1 + 4 * exp(-(double)step / 2) + 0.01 * normal_at(sandbox, STREAM_TIME, step);
    double stall = unit_at(sandbox, STREAM_STALL, step);
    if (stall < 1.0 / 64)
        factor += 0.1 * stall * 64;
    return (uint64_t)fmin(sandbox->step_ns * factor, 1e18) + 1;
}

/* --- hooks --- */

static enum status sandbox_supports(const struct cell *cell, struct err *ret_why)
{
    (void)cell;
    (void)ret_why;
    return STATUS_OK;
}

/* Memory stays unknown here: the process takes none of it, so no cell may be refused for it. The
 * synthetic results are in open()'s answer. */
static enum status sandbox_predict(const struct cell *cell, struct engine_prediction *ret,
                                   struct err *err)
{
    (void)err;
    *ret = (struct engine_prediction){
        .step_ns_estimate = nominal_step_ns(cell),
    };
    return STATUS_OK;
}

static enum status sandbox_open(const struct cell *cell, void **ret_context,
                                struct proto_ready *ret_ready, struct err *err)
{
    struct sandbox_context *sandbox = calloc(1, sizeof(*sandbox));
    if (sandbox == NULL)
        return ERR(err, STATUS_NOMEM, "no memory for the sandbox engine");
    char id[HASH_ID_BYTES];
    cell_id(cell, id); /* every field that says what is measured, and the seed */
    sandbox->cell = *cell;
    const char *digits = hash_id_digits(id);
    sandbox->key = random_key(hash_u64(digits, strlen(digits)), cell->seed);
    sandbox->step_ns = nominal_step_ns(cell);
    sandbox->memory = memory_parts(cell);

    const struct precision_traits *traits = traits_of(cell);
    *ret_ready = (struct proto_ready){
        .params_total = model_params_total(&cell->model),
        .params_active = model_params_active(&cell->model),
        .has_tf32 = true,
        .tf32 = cell->precision == CELL_PRECISION_TF32,
        .threads = cell->threads_count,
        .memory_predicted = sandbox->memory,
        .load_ns = sandbox->memory.weights_bytes / 2 + 1, /* 2 GB/s */
    };
    (void)snprintf(ret_ready->model_source, sizeof(ret_ready->model_source), "%s",
                   cell->model_source);
    (void)snprintf(ret_ready->dtype_param, sizeof(ret_ready->dtype_param), "%s", traits->param);
    (void)snprintf(ret_ready->dtype_compute, sizeof(ret_ready->dtype_compute), "%s",
                   traits->compute);
    (void)snprintf(ret_ready->dtype_accumulate, sizeof(ret_ready->dtype_accumulate), "%s",
                   traits->accumulate);
    (void)snprintf(ret_ready->backend, sizeof(ret_ready->backend), "synthetic");
    (void)snprintf(ret_ready->tokens_data, sizeof(ret_ready->tokens_data), "none");
    (void)snprintf(ret_ready->notes, sizeof(ret_ready->notes),
                   "synthetic results: nothing was run");
    *ret_context = sandbox;
    return STATUS_OK;
}

static enum status sandbox_run_step(void *context, struct err *err)
{
    (void)err;
    struct sandbox_context *sandbox = context;
    sandbox->steps_done++;
    return STATUS_OK;
}

/* Tokens that each expert was given so far: uneven by up to a fifth, and in sum exact. */
static void observe_experts(const struct sandbox_context *sandbox,
                            struct proto_observation *observation)
{
    const struct model_spec *model = &sandbox->cell.model;
    uint32_t count = model->experts_count;
    if (model->ffn != MODEL_FFN_MOE_SWIGLU || count > PROTO_EXPERTS_MAX)
        return;
    double weights[PROTO_EXPERTS_MAX];
    double weights_sum = 0;
    for (uint32_t i = 0; i < count; i++) {
        weights[i] = 0.9 + 0.2 * unit_at(sandbox, STREAM_EXPERTS, i);
        weights_sum += weights[i];
    }
    uint64_t left = cell_tokens_per_step(&sandbox->cell) * model->layers_count *
                    model->experts_active * sandbox->steps_done;
    double total = (double)left;
    for (uint32_t i = 0; i + 1 < count; i++) {
        uint64_t share = (uint64_t)(total * weights[i] / weights_sum);
        share = share < left ? share : left;
        observation->expert_tokens[i] = share;
        left -= share;
    }
    observation->expert_tokens[count - 1] = left;
    observation->experts_count = count;
}

/* Untrained, the loss is that of a guess, ln(vocab_size); training takes it down to a third. */
static void sandbox_observe(void *context, struct proto_observation *ret_observation)
{
    const struct sandbox_context *sandbox = context;
    if (sandbox->steps_done == 0)
        return;
    uint64_t step = sandbox->steps_done - 1;
    double guess = log(sandbox->cell.model.vocab_size);
    double noise = 1 + 0.001 * normal_at(sandbox, STREAM_LOSS, step);
    double fall = exp(-(double)step / 500);
    ret_observation->has_nonfinite = true;
    ret_observation->nonfinite = 0;
    observe_experts(sandbox, ret_observation);
    switch (sandbox->cell.mode) {
    case CELL_MODE_TRAIN:
        ret_observation->loss = guess * (1.0 / 3 + 2.0 / 3 * fall) * noise;
        ret_observation->grad_norm =
            (0.2 + fall) * (1 + 0.05 * normal_at(sandbox, STREAM_NORM, step));
        break;
    case CELL_MODE_INFER: ret_observation->loss = guess * noise; break;
    case CELL_MODE_DECODE: break; /* one token has no target */
    }
}

static void sandbox_memory(void *context, struct proto_memory *ret_memory)
{
    const struct sandbox_context *sandbox = context;
    ret_memory->parts = sandbox->memory;
    ret_memory->has_allocated_bytes = true;
    ret_memory->has_reserved_bytes = true;
    ret_memory->has_peak_bytes = true;
    ret_memory->peak_bytes = sandbox->memory.total_bytes;
    ret_memory->allocated_bytes = sandbox->memory.total_bytes - sandbox->memory.activations_bytes;
    /* Allocators take memory in large pieces. */
    const uint64_t piece = 2ULL << 20;
    ret_memory->reserved_bytes = (sandbox->memory.total_bytes + piece - 1) / piece * piece;
}

static void sandbox_close(void *context)
{
    free(context);
}

const struct engine_ops sandbox_engine = {
    .name = "sandbox",
    .summary = "made-up results from the cell and its seed; runs nothing",
    .version = "1",
    .supports = sandbox_supports,
    .predict = sandbox_predict,
    .open = sandbox_open,
    .run_step = sandbox_run_step,
    .synthetic_step_ns = sandbox_synthetic_step_ns,
    .observe = sandbox_observe,
    .memory = sandbox_memory,
    .close = sandbox_close,
};
