#include "engines/native/moe.h"

#include <string.h>

#include "engines/native/clones.h"
#include "engines/native/dropout.h"
#include "engines/native/elementary.h"
#include "engines/native/linear.h"
#include "proto/message.h"

/* What the kernels on floats work on. All borrowed for the call. */
struct moe_job {
    const struct moe *moe;
    const struct layer_buffers *layer; /* the routes: expert_of, row_of, token_of, expert_begin */
    size_t rows;
    const float *normed;
    const float *residual;
    const float *d_out;
    float *out;
    float *gate_of;
    float *hidden1;
    float *hidden2;
    float *routing;
    float *routed;
    float *act;
    float *d_routed; /* train only */
};

static struct moe_job job_make(const struct moe *moe, struct matrix normed, struct matrix out,
                               const struct buffers *work, const struct layer_buffers *layer)
{
    ASSERT(normed.columns == moe->C && matrix_is_shaped(out, normed.rows, moe->C));
    return (struct moe_job){.moe = moe,
                            .layer = layer,
                            .rows = normed.rows,
                            .normed = matrix_floats(normed),
                            .out = matrix_floats(out),
                            .gate_of = matrix_floats(layer->gate_of),
                            .hidden1 = matrix_floats(layer->hidden1),
                            .hidden2 = matrix_floats(layer->hidden2),
                            .routing = matrix_floats(work->routing),
                            .routed = matrix_floats(work->routed),
                            .act = matrix_floats(work->act),
                            .d_routed = matrix_floats(work->d_routed)};
}

static struct matrix weight_at(const struct moe *moe, enum param_slot slot, size_t expert)
{
    return params_at(moe->params, moe->weights, slot, moe->layer, expert);
}

static struct matrix gradient_at(const struct moe *moe, enum param_slot slot, size_t expert)
{
    return params_at(moe->params, moe->gradients, slot, moe->layer, expert);
}

static struct linear expert_linear(const struct moe *moe, enum param_slot weight,
                                   enum param_slot bias, size_t expert)
{
    return (struct linear){.weight = weight_at(moe, weight, expert),
                           .bias = weight_at(moe, bias, expert)};
}

static struct linear gate_linear(const struct moe *moe)
{
    return (struct linear){.weight = weight_at(moe, PARAM_GATE_WEIGHT, 0)};
}

/* Did no row choose expert e? In decode that is most of them. */
static bool expert_is_idle(const struct layer_buffers *layer, size_t e)
{
    return layer->expert_begin[e] == layer->expert_begin[e + 1];
}

/* The rows of `sorted` that are expert e's. */
static struct matrix expert_rows(const struct layer_buffers *layer, size_t e, struct matrix sorted)
{
    size_t begin = layer->expert_begin[e];
    return matrix_rows(sorted, begin, layer->expert_begin[e + 1] - begin);
}

/* The K largest logits of each row, the first of equals first, and the softmax over them. */
static void choose_task(void *context, unsigned thread_index, size_t begin, size_t end)
{
    (void)thread_index;
    const struct moe_job *job = context;
    size_t E = job->moe->E;
    size_t K = job->moe->K;
    float *gates = job->gate_of;
    for (size_t row = begin; row < end; row++) {
        const float *logits = job->routing + row * E;
        uint64_t taken = 0; /* a bit for each of PROTO_EXPERTS_MAX = 64 */
        float sum = 0;
        float max = 0;
        for (size_t k = 0; k < K; k++) {
            size_t best = 0;
            while ((taken >> best & 1) != 0)
                best++;
            for (size_t e = best + 1; e < E; e++) {
                if ((taken >> e & 1) == 0 && logits[e] > logits[best])
                    best = e;
            }
            ASSERT(best < E && E <= PROTO_EXPERTS_MAX);
            taken |= (uint64_t)1 << best;
            max = k == 0 ? logits[best] : max;
            float weight = exp_f32(logits[best] - max);
            sum += weight;
            job->layer->expert_of[row * K + k] = (uint32_t)best;
            gates[row * K + k] = weight;
        }
        for (size_t k = 0; k < K; k++)
            gates[row * K + k] /= sum;
    }
}

/* Counting sort of the (row, k) pairs by expert, in order of rows within one. */
static void sort_rows(const struct moe_job *job, uint64_t *expert_tokens)
{
    const struct moe *moe = job->moe;
    const struct layer_buffers *layer = job->layer;
    size_t pairs = job->rows * moe->K;
    size_t next[PROTO_EXPERTS_MAX] = {0};
    for (size_t pair = 0; pair < pairs; pair++)
        next[layer->expert_of[pair]]++;
    size_t begin = 0;
    for (size_t e = 0; e < moe->E; e++) {
        size_t count = next[e];
        expert_tokens[e] += count;
        layer->expert_begin[e] = begin;
        next[e] = begin;
        begin += count;
    }
    layer->expert_begin[moe->E] = begin;
    for (size_t pair = 0; pair < pairs; pair++) {
        size_t row = next[layer->expert_of[pair]]++;
        layer->row_of[pair] = (uint32_t)row;
        layer->token_of[row] = (uint32_t)(pair / moe->K);
    }
}

/* routed (sorted rows, C) = normed of their tokens */
static void gather_task(void *context, unsigned thread_index, size_t begin, size_t end)
{
    (void)thread_index;
    const struct moe_job *job = context;
    size_t C = job->moe->C;
    for (size_t row = begin; row < end; row++)
        memcpy(job->routed + row * C, job->normed + job->layer->token_of[row] * C,
               C * sizeof(float));
}

/* act = dropout(silu(hidden1) * hidden2); act may be hidden1 */
static CLONES void swiglu_task(void *context, unsigned thread_index, size_t begin, size_t end)
{
    (void)thread_index;
    const struct moe_job *job = context;
    size_t F = job->moe->F;
    for (size_t row = begin; row < end; row++) {
        const float *h1 = job->hidden1 + row * F;
        const float *h2 = job->hidden2 + row * F;
        float *act = job->act + row * F;
        INDEPENDENT
        for (size_t i = 0; i < F; i++)
            act[i] = h1[i] * sigmoid_f32(h1[i]) * h2[i];
        if (job->moe->dropout > 0)
            dropout_apply(act, F, job->moe->dropout_key, (uint64_t)row * F, job->moe->dropout);
    }
}

/* out = residual + sum over k of gate * the expert's result */
static CLONES void combine_task(void *context, unsigned thread_index, size_t begin, size_t end)
{
    (void)thread_index;
    const struct moe_job *job = context;
    size_t C = job->moe->C;
    size_t K = job->moe->K;
    for (size_t token = begin; token < end; token++) {
        float *out = job->out + token * C;
        if (out != job->residual + token * C)
            memcpy(out, job->residual + token * C, C * sizeof(float));
        for (size_t k = 0; k < K; k++) {
            size_t row = job->layer->row_of[token * K + k];
            float gate = job->gate_of[token * K + k];
            const float *result = job->routed + row * C;
            INDEPENDENT
            for (size_t i = 0; i < C; i++)
                out[i] += gate * result[i];
        }
    }
}

/* Of `count` matmuls of the chosen experts. */
static double experts_flops(const struct moe *moe, size_t rows, double count)
{
    return 2.0 * count * (double)(rows * moe->K) * (double)moe->C * (double)moe->F;
}

static double gate_flops(const struct moe *moe, size_t rows)
{
    return 2.0 * (double)rows * (double)moe->C * (double)moe->E;
}

/* The experts of each row, and the rows of each expert. */
static void route(const struct compute *compute, struct moe_job *job, struct matrix normed,
                  struct matrix routing, uint64_t *expert_tokens)
{
    const struct moe *moe = job->moe;
    OPERATION(compute, "router", gate_flops(moe, job->rows));
    struct linear gate = gate_linear(moe);
    linear_forward(compute, &gate, normed, routing);
    pool_run(compute->pool, job->rows, compute_row_grain(moe->E * moe->K * 4), choose_task, job);
    sort_rows(job, expert_tokens);
}

/* hidden1 and hidden2 of every expert's rows. */
static void experts_in(const struct compute *compute, const struct moe_job *job,
                       const struct buffers *work)
{
    const struct moe *moe = job->moe;
    OPERATION(compute, "experts", experts_flops(moe, job->rows, 2));
    for (size_t e = 0; e < moe->E; e++) {
        if (expert_is_idle(job->layer, e))
            continue;
        struct linear w1 = expert_linear(moe, PARAM_W1_WEIGHT, PARAM_W1_BIAS, e);
        struct linear w2 = expert_linear(moe, PARAM_W2_WEIGHT, PARAM_W2_BIAS, e);
        struct matrix x = expert_rows(job->layer, e, work->routed);
        linear_forward(compute, &w1, x, expert_rows(job->layer, e, job->layer->hidden1));
        linear_forward(compute, &w2, x, expert_rows(job->layer, e, job->layer->hidden2));
    }
}

static void experts_out(const struct compute *compute, const struct moe_job *job,
                        const struct buffers *work)
{
    const struct moe *moe = job->moe;
    OPERATION(compute, "experts", experts_flops(moe, job->rows, 1));
    for (size_t e = 0; e < moe->E; e++) {
        if (expert_is_idle(job->layer, e))
            continue;
        struct linear w3 = expert_linear(moe, PARAM_W3_WEIGHT, PARAM_W3_BIAS, e);
        linear_forward(compute, &w3, expert_rows(job->layer, e, work->act),
                       expert_rows(job->layer, e, work->routed));
    }
}

/* A loop over rows, by name. */
static void run_rows(const struct compute *compute, const char *name, size_t rows, size_t grain,
                     pool_task *task, struct moe_job *job)
{
    OPERATION(compute, name, 0);
    pool_run(compute->pool, rows, grain, task, job);
}

void moe_forward(const struct compute *compute, const struct moe *moe, struct matrix normed,
                 struct matrix residual, struct matrix out, const struct buffers *work,
                 const struct layer_buffers *layer, uint64_t *expert_tokens)
{
    struct moe_job job = job_make(moe, normed, out, work, layer);
    size_t rows = normed.rows;
    ASSERT(matrix_is_shaped(residual, rows, moe->C));
    job.residual = matrix_floats(residual);
    route(compute, &job, normed, matrix_rows(work->routing, 0, rows), expert_tokens);
    run_rows(compute, "gather", rows * moe->K, compute_row_grain(moe->C), gather_task, &job);
    experts_in(compute, &job, work);
    run_rows(compute, "swiglu", rows * moe->K, compute_row_grain(moe->F * 4), swiglu_task, &job);
    experts_out(compute, &job, work);
    run_rows(compute, "combine", rows, compute_row_grain(moe->C * moe->K), combine_task, &job);
}

/* routed = normed and d_routed = d_out of the sorted rows' tokens */
static void gather_backward_task(void *context, unsigned thread_index, size_t begin, size_t end)
{
    const struct moe_job *job = context;
    size_t C = job->moe->C;
    gather_task(context, thread_index, begin, end);
    for (size_t row = begin; row < end; row++)
        memcpy(job->d_routed + row * C, job->d_out + job->layer->token_of[row] * C,
               C * sizeof(float));
}

/* For the (token, k) pairs of a range of tokens. On entry act holds w3^T d_out, the gradient of
 * dropout(z), z = silu(h1) h2, not yet gated, and d_routed holds d_out. On exit act holds
 * dropout(z), hidden1 and hidden2 their gradients, d_routed the gated d_out, and routing the
 * gradients of the gate logits:
 *   d_gate_k = <d_out, result_k> = <mask(w3^T d_out), z> + <d_out, b3>
 *   d_logit_k = g_k (d_gate_k - sum over chosen j of g_j d_gate_j)                              */
static CLONES void swiglu_backward_task(void *context, unsigned thread_index, size_t begin,
                                        size_t end)
{
    (void)thread_index;
    const struct moe_job *job = context;
    const struct moe *moe = job->moe;
    size_t F = moe->F;
    size_t C = moe->C;
    for (size_t token = begin; token < end; token++) {
        float d_gates[PROTO_EXPERTS_MAX];
        float mean = 0;
        float *d_logits = job->routing + token * moe->E;
        memset(d_logits, 0, moe->E * sizeof(float));
        for (size_t k = 0; k < moe->K; k++) {
            size_t pair = token * moe->K + k;
            size_t row = job->layer->row_of[pair];
            float gate = job->gate_of[pair];
            float *h1 = job->hidden1 + row * F;
            float *h2 = job->hidden2 + row * F;
            float *act = job->act + row * F;
            float *d_result = job->d_routed + row * C;
            const float *b3 =
                matrix_floats(weight_at(moe, PARAM_W3_BIAS, job->layer->expert_of[pair]));
            if (moe->dropout > 0)
                dropout_apply(act, F, moe->dropout_key, (uint64_t)row * F, moe->dropout);
            d_gates[k] = dot_f32(d_result, b3, C);
            for (size_t first = 0; first < F; first += SUM_BLOCK) {
                size_t count = F - first < SUM_BLOCK ? F - first : SUM_BLOCK;
                float z[SUM_BLOCK];
                INDEPENDENT
                for (size_t i = 0; i < count; i++) {
                    float s = sigmoid_f32(h1[first + i]);
                    float silu = h1[first + i] * s;
                    z[i] = silu * h2[first + i];
                    float d_z = gate * act[first + i];
                    h1[first + i] = d_z * h2[first + i] * (s + silu * (1.0f - s));
                    h2[first + i] = d_z * silu;
                }
                d_gates[k] += dot_f32(act + first, z, count);
                memcpy(act + first, z, count * sizeof(float));
            }
            if (moe->dropout > 0)
                dropout_apply(act, F, moe->dropout_key, (uint64_t)row * F, moe->dropout);
            for (size_t i = 0; i < C; i++)
                d_result[i] *= gate;
            mean += gate * d_gates[k];
        }
        for (size_t k = 0; k < moe->K; k++) {
            size_t pair = token * moe->K + k;
            d_logits[job->layer->expert_of[pair]] = job->gate_of[pair] * (d_gates[k] - mean);
        }
    }
}

/* d_normed = sum of the token's rows of d_routed */
static CLONES void scatter_task(void *context, unsigned thread_index, size_t begin, size_t end)
{
    (void)thread_index;
    const struct moe_job *job = context;
    size_t C = job->moe->C;
    size_t K = job->moe->K;
    for (size_t token = begin; token < end; token++) {
        float *out = job->out + token * C;
        memset(out, 0, C * sizeof(float));
        for (size_t k = 0; k < K; k++) {
            const float *d_x = job->d_routed + job->layer->row_of[token * K + k] * C;
            INDEPENDENT
            for (size_t i = 0; i < C; i++)
                out[i] += d_x[i];
        }
    }
}

/* All of one expert's gradients, and d_routed of its rows turned into the gradient of its input. */
static void expert_backward(const struct compute *compute, const struct moe *moe, size_t e,
                            const struct buffers *work, const struct layer_buffers *layer)
{
    struct matrix x = expert_rows(layer, e, work->routed);
    struct matrix d_h1 = expert_rows(layer, e, layer->hidden1);
    struct matrix d_h2 = expert_rows(layer, e, layer->hidden2);
    struct matrix d_result = expert_rows(layer, e, work->d_routed);
    struct linear w1 = expert_linear(moe, PARAM_W1_WEIGHT, PARAM_W1_BIAS, e);
    struct linear w2 = expert_linear(moe, PARAM_W2_WEIGHT, PARAM_W2_BIAS, e);
    linear_backward_weight(compute, expert_rows(layer, e, work->act), d_result,
                           gradient_at(moe, PARAM_W3_WEIGHT, e), gradient_at(moe, PARAM_W3_BIAS, e),
                           false);
    linear_backward_weight(compute, x, d_h1, gradient_at(moe, PARAM_W1_WEIGHT, e),
                           gradient_at(moe, PARAM_W1_BIAS, e), false);
    linear_backward_weight(compute, x, d_h2, gradient_at(moe, PARAM_W2_WEIGHT, e),
                           gradient_at(moe, PARAM_W2_BIAS, e), false);
    linear_backward_input(compute, &w1, d_h1, d_result, false);
    linear_backward_input(compute, &w2, d_h2, d_result, true);
}

/* act = w3^T d_out of every expert's rows. */
static void experts_out_backward(const struct compute *compute, const struct moe_job *job,
                                 const struct buffers *work)
{
    const struct moe *moe = job->moe;
    OPERATION(compute, "experts backward", experts_flops(moe, job->rows, 1));
    for (size_t e = 0; e < moe->E; e++) {
        struct linear w3 = expert_linear(moe, PARAM_W3_WEIGHT, PARAM_W3_BIAS, e);
        linear_backward_input(compute, &w3, expert_rows(job->layer, e, work->d_routed),
                              expert_rows(job->layer, e, work->act), false);
    }
}

static void experts_in_backward(const struct compute *compute, const struct moe_job *job,
                                const struct buffers *work)
{
    OPERATION(compute, "experts backward", experts_flops(job->moe, job->rows, 5));
    for (size_t e = 0; e < job->moe->E; e++)
        expert_backward(compute, job->moe, e, work, job->layer);
}

static void gate_backward(const struct compute *compute, const struct moe *moe,
                          struct matrix normed, struct matrix d_logits, struct matrix d_normed)
{
    OPERATION(compute, "router backward", 2 * gate_flops(moe, normed.rows));
    struct linear gate = gate_linear(moe);
    linear_backward_weight(compute, normed, d_logits, gradient_at(moe, PARAM_GATE_WEIGHT, 0),
                           MATRIX_NONE, false);
    linear_backward_input(compute, &gate, d_logits, d_normed, true);
}

void moe_backward(const struct compute *compute, const struct moe *moe, struct matrix normed,
                  struct matrix d_out, struct matrix d_normed, const struct buffers *work,
                  const struct layer_buffers *layer)
{
    struct moe_job job = job_make(moe, normed, d_normed, work, layer);
    size_t rows = normed.rows;
    ASSERT(matrix_is_shaped(d_out, rows, moe->C));
    job.d_out = matrix_floats(d_out);
    run_rows(compute, "gather backward", rows * moe->K, compute_row_grain(moe->C),
             gather_backward_task, &job);
    experts_out_backward(compute, &job, work);
    run_rows(compute, "swiglu backward", rows, compute_row_grain(moe->F * moe->K * 4),
             swiglu_backward_task, &job);
    experts_in_backward(compute, &job, work);
    run_rows(compute, "combine backward", rows, compute_row_grain(moe->C * moe->K), scatter_task,
             &job);
    gate_backward(compute, moe, normed, matrix_rows(work->routing, 0, rows), d_normed);
}
