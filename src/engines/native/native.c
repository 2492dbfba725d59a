#include "engines/native/native.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/version.h"
#include "engines/native/gemm.h"
#include "engines/native/profile.h"
#include "engines/native/session.h"
#include "engines/native/weights.h"
#include "spec/device.h"

/* What a process grows by beside the arena: the program's pages that come in with the kernels, and
 * the touched part of each thread's stack and its bookkeeping. */
#define PROCESS_BYTES ((uint64_t)512 * 1024)
#define THREAD_BYTES  ((uint64_t)48 * 1024)
/* For estimates only: single-precision operations a second and thread, bytes a second. */
#define FLOPS_AVX512   120e9
#define FLOPS_AVX2     60e9
#define FLOPS_PORTABLE 8e9
#define READ_BYTES     20e9

static enum status native_supports(const struct cell *cell, struct err *ret_why)
{
    if (cell->precision != CELL_PRECISION_FP32)
        return ERR(ret_why, STATUS_UNSUPPORTED, "native runs fp32 for now; %s is not in this build",
                   cell_precision_name(cell->precision));
    if (!device_is_host(cell->device))
        return ERR(ret_why, STATUS_UNSUPPORTED, "native runs on device cpu, not on '%s'",
                   cell->device);
    if (cell->seq_len > cell->model.max_seq_len)
        return ERR(ret_why, STATUS_UNSUPPORTED,
                   "seq_len %" PRIu32
                   " is more than the model's max_seq_len; the largest is %" PRIu32,
                   cell->seq_len, cell->model.max_seq_len);
    if (cell->model.experts_count > PROTO_EXPERTS_MAX)
        return ERR(ret_why, STATUS_UNSUPPORTED,
                   "native routes to at most %d experts, the model has %" PRIu32, PROTO_EXPERTS_MAX,
                   cell->model.experts_count);
    if (cell->threads_count > POOL_THREADS_MAX)
        return ERR(ret_why, STATUS_UNSUPPORTED, "native runs on at most %d threads, not %" PRIu32,
                   POOL_THREADS_MAX, cell->threads_count);
    return STATUS_OK;
}

static struct transformer_shape cell_shape(const struct cell *cell)
{
    return (struct transformer_shape){.mode = cell->mode,
                                      .batch_size = cell->batch_size,
                                      .seq_len = cell->seq_len,
                                      .threads_count = session_threads(cell)};
}

/* A data file is mapped, and read once through. */
static uint64_t data_bytes(const struct cell *cell)
{
    struct stat info;
    if (cell->data == CELL_DATA_SYNTHETIC || stat(cell->data_path, &info) != 0)
        return 0;
    return (uint64_t)info.st_size;
}

static double step_flops(const struct cell *cell)
{
    double forward =
        model_forward_flops(&cell->model, (double)cell_tokens_per_step(cell), cell->seq_len);
    return cell->mode == CELL_MODE_TRAIN ? 3.0 * forward : forward;
}

static double flops_per_thread(void)
{
    const char *backend = gemm_backend_name();
    if (strcmp(backend, "avx512") == 0)
        return FLOPS_AVX512;
    return strcmp(backend, "avx2") == 0 ? FLOPS_AVX2 : FLOPS_PORTABLE;
}

/* What the matmuls take at a likely speed, or what reading (and for train updating) the weights
 * takes: they overlap little. */
static double estimate_ns(const struct cell *cell, const struct proto_memory_parts *parts,
                          double flops)
{
    double bytes = (double)(parts->weights_bytes + parts->kv_cache_bytes) +
                   3.0 * (double)(parts->gradients_bytes + parts->optimizer_bytes);
    double seconds = flops / (flops_per_thread() * session_threads(cell)) + bytes / READ_BYTES;
    return seconds * (double)NS_PER_S;
}

static enum status native_predict(const struct cell *cell, struct engine_prediction *ret,
                                  struct err *err)
{
    struct transformer_shape shape = cell_shape(cell);
    struct proto_memory_parts parts;
    enum status status = transformer_plan(&cell->model, &shape, &parts, err);
    if (status != STATUS_OK)
        return status;
    uint64_t arena_bytes = parts.total_bytes;
    parts.total_bytes +=
        PROCESS_BYTES + THREAD_BYTES * (shape.threads_count - 1) + data_bytes(cell);
    parts.other_bytes += parts.total_bytes - arena_bytes;
    *ret = (struct engine_prediction){
        .memory = parts, .step_ns_estimate = estimate_ns(cell, &parts, step_flops(cell))};
    return STATUS_OK;
}

static enum status make_weights(struct native_session *session, struct err *err)
{
    struct transformer *t = &session->model;
    const struct cell *cell = &session->cell;
    if (cell->weights_path[0] != '\0')
        return weights_load(cell->weights_path, &t->spec, &t->params, t->buffers.weights, err);
    weights_init(&t->compute, &t->spec, &t->params, cell->seed, t->buffers.weights);
    return STATUS_OK;
}

static void describe_data(const struct native_session *session, char text[PROTO_TEXT_BYTES])
{
    if (session->cell.data == CELL_DATA_SYNTHETIC)
        (void)snprintf(text, PROTO_TEXT_BYTES, "synthetic uniform");
    else
        (void)snprintf(text, PROTO_TEXT_BYTES, "%s %.300s (%" PRIu64 " tokens)",
                       tokens_form(session->tokens), session->cell.data_path,
                       tokens_count(session->tokens));
}

/* The worker adds what it predicted. */
static void describe(const struct native_session *session, uint64_t load_ns,
                     struct proto_ready *ready)
{
    const struct cell *cell = &session->cell;
    *ready = (struct proto_ready){.params_total = model_params_total(&cell->model),
                                  .params_active = model_params_active(&cell->model),
                                  .dtype_param = "fp32",
                                  .dtype_compute = "fp32",
                                  .dtype_accumulate = "fp32",
                                  .has_tf32 = true,
                                  .threads = session_threads(cell),
                                  .load_ns = load_ns};
    (void)snprintf(ready->model_source, sizeof(ready->model_source), "%s",
                   cell->weights_path[0] != '\0' ? "weights file" : cell->model_source);
    (void)snprintf(ready->backend, sizeof(ready->backend), "%s", gemm_backend_name());
    describe_data(session, ready->tokens_data);
    if (cell->mode == CELL_MODE_DECODE && !cell->model.is_causal)
        (void)snprintf(ready->notes, sizeof(ready->notes),
                       "decode attends to the past only; the model has no causal mask");
}

static void native_close(void *context)
{
    struct native_session *session = context;
    if (session == NULL)
        return;
    transformer_close(&session->model);
    tokens_close(session->tokens);
    free(session);
}

/* Decode: one row of tokens for each batch row, and all but the last in the cache. */
static void prepare_decode(struct native_session *session)
{
    struct buffers *b = &session->model.buffers;
    if (session->cell.mode != CELL_MODE_DECODE)
        return;
    tokens_batch(session->tokens, 0, b->inputs, b->targets);
    session_prefill(&session->model, session->model.shape.T - 1);
}

static enum status native_open(const struct cell *cell, void **ret_context,
                               struct proto_ready *ret_ready, struct err *err)
{
    enum status status = native_supports(cell, err);
    if (status != STATUS_OK)
        return status;
    struct native_session *session = calloc(1, sizeof(*session));
    if (session == NULL)
        return ERR(err, STATUS_NOMEM, "out of memory");
    session->cell = *cell;
    session->adamw = adamw_default();
    session->adamw.lr = cell_learning_rate(cell);
    session->loss = NAN;
    struct transformer_shape shape = cell_shape(cell);
    uint64_t load_ns = 0;
    status = tokens_open(cell, &session->tokens, err);
    if (status == STATUS_OK)
        status = transformer_open(&cell->model, &shape, cell->seed, &session->model, err);
    if (status == STATUS_OK) {
        uint64_t begin_ns = clock_now_ns();
        status = make_weights(session, err);
        load_ns = clock_now_ns() - begin_ns;
    }
    if (status != STATUS_OK) {
        native_close(session);
        return status;
    }
    prepare_decode(session);
    /* Prefill's choices of experts are not a step's. */
    memset(session->model.expert_tokens, 0, sizeof(session->model.expert_tokens));
    describe(session, load_ns, ret_ready);
    *ret_context = session;
    return STATUS_OK;
}

static enum status native_run_step(void *context, struct err *err)
{
    (void)err;
    struct native_session *session = context;
    struct buffers *b = &session->model.buffers;
    if (session->cell.mode != CELL_MODE_DECODE)
        tokens_batch(session->tokens, session->steps_done, b->inputs, b->targets);
    session_step(session, session->steps_done, MATRIX_NONE);
    session->steps_done++;
    return STATUS_OK;
}

static void native_observe(void *context, struct proto_observation *ret)
{
    struct native_session *session = context;
    struct transformer *t = &session->model;
    if (session->cell.mode == CELL_MODE_TRAIN && session->steps_done > 0) {
        ret->loss = session->loss;
        ret->grad_norm = adamw_gradient_norm(&t->compute, t->buffers.gradients);
        ret->has_nonfinite = true;
        ret->nonfinite = session->losses_odd + (isfinite(ret->grad_norm) ? 0 : 1);
        session->losses_odd = 0;
    }
    ret->has_head_tokens = true;
    ret->head_tokens = t->seen.rows_count;
    ret->has_cache_tokens = session->cell.mode == CELL_MODE_DECODE;
    ret->cache_tokens = t->cache_position;
    session_put_logits(session, ret);
    if (t->spec.ffn == MODEL_FFN_MOE_SWIGLU) {
        ret->experts_count = t->spec.experts_count;
        memcpy(ret->expert_tokens, t->expert_tokens, t->spec.experts_count * sizeof(uint64_t));
    }
}

static void native_memory(void *context, struct proto_memory *ret)
{
    const struct native_session *session = context;
    *ret = (struct proto_memory){.parts = session->model.planned,
                                 .has_allocated_bytes = true,
                                 .has_reserved_bytes = true,
                                 .allocated_bytes = session->model.arena.bytes,
                                 .reserved_bytes = session->model.arena.mapping_bytes};
}

static enum status native_check(void *context, const struct proto_check *request,
                                struct proto_check_result *ret_result, struct err *err)
{
    return session_check(context, request, ret_result, err);
}

static enum status native_verify(void *context, uint64_t step,
                                 struct proto_observation *ret_expected, struct err *err)
{
    return session_verify(context, step, ret_expected, err);
}

static enum status native_profile(void *context, const struct proto_profile *request,
                                  struct proto_profiled *ret_profiled, struct err *err)
{
    return profile_steps(context, request, native_run_step, ret_profiled, err);
}

const struct engine_ops native_engine = {
    .name = "native",
    .summary = "tokmark's own engine: C on the CPU, fp32, every mode",
    .version = "1",
    .supports = native_supports,
    .predict = native_predict,
    .open = native_open,
    .run_step = native_run_step,
    .observe = native_observe,
    .memory = native_memory,
    .verify = native_verify,
    .check = native_check,
    .profile = native_profile,
    .close = native_close,
};
