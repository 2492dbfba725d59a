#include "engines/native/transformer.h"

#include <inttypes.h>

#include "base/random.h"
#include "engines/native/attention.h"
#include "engines/native/loss.h"
#include "engines/native/mlp.h"

/* "dropout": keeps these streams apart from the tokens', which start from the same seed. */
#define DROPOUT_STREAM 0x64726F706F757400ULL

/* What one forward works on. */
struct pass {
    size_t rows;
    const uint32_t *tokens; /* borrowed for the call */
    uint64_t step;
    bool is_cached;
};

static enum status plan(const struct model_spec *spec, const struct transformer_shape *wanted,
                        struct layout *layout, struct transformer *t, struct err *err)
{
    enum status status = shape_init(&t->shape, spec, wanted->mode, wanted->batch_size,
                                    wanted->seq_len, wanted->threads_count, err);
    if (status != STATUS_OK)
        return status;
    params_layout_init(&t->params, spec);
    status = buffers_place(&t->shape, spec, &t->params, layout, &t->buffers, &t->planned, err);
    if (status == STATUS_OK)
        t->planned.total_bytes = arena_round(t->planned.total_bytes);
    return status;
}

enum status transformer_plan(const struct model_spec *spec, const struct transformer_shape *shape,
                             struct proto_memory_parts *ret_parts, struct err *err)
{
    struct transformer t = {0};
    struct layout layout = {0};
    enum status status = plan(spec, shape, &layout, &t, err);
    if (status == STATUS_OK)
        *ret_parts = t.planned;
    return status;
}

static void fill_tables(struct transformer *t)
{
    struct buffers *b = &t->buffers;
    rotary_table(t->spec.rotary_base, b->rotary_cos, b->rotary_sin);
    if (t->shape.mode != CELL_MODE_DECODE)
        for (size_t row = 0; row < t->shape.N; row++)
            b->positions[row] = (uint32_t)(row % t->shape.T);
}

static enum status take_resources(const struct model_spec *spec,
                                  const struct transformer_shape *shape, struct transformer *t,
                                  struct err *err)
{
    struct layout layout = {0};
    TRY(plan(spec, shape, &layout, t, err));
    TRY(arena_open(layout.used_bytes, &t->arena, err));
    TRY(pool_new(shape->threads_count, &t->pool, err));
    layout = (struct layout){.base = (uintptr_t)t->arena.data};
    return buffers_place(&t->shape, spec, &t->params, &layout, &t->buffers, NULL, err);
}

enum status transformer_open(const struct model_spec *spec, const struct transformer_shape *shape,
                             uint64_t seed, struct transformer *ret, struct err *err)
{
    struct transformer t = {.spec = *spec, .seed = seed};
    t.dropout = shape->mode == CELL_MODE_TRAIN ? spec->dropout : 0.0;
    enum status status = take_resources(spec, shape, &t, err);
    if (status != STATUS_OK) {
        transformer_close(&t);
        return status;
    }
    t.compute = (struct compute){.pool = t.pool,
                                 .gemm_workspace = t.buffers.gemm_workspace,
                                 .thread_workspace = t.buffers.thread_workspace,
                                 .thread_workspace_bytes = t.buffers.thread_workspace_bytes};
    arena_touch(&t.arena, t.pool);
    fill_tables(&t);
    *ret = t;
    return STATUS_OK;
}

void transformer_close(struct transformer *t)
{
    pool_free(t->pool);
    arena_close(&t->arena);
    *t = (struct transformer){0};
}

static uint64_t dropout_key(const struct transformer *t, uint64_t step, size_t layer,
                            enum transformer_site site)
{
    uint64_t step_key = random_key(random_key(t->seed, DROPOUT_STREAM), step);
    return random_key(step_key, (uint64_t)layer * TRANSFORMER_SITES_COUNT + (uint64_t)site);
}

struct norm transformer_norm(const struct transformer *t, enum param_slot weight,
                             enum param_slot bias, size_t layer)
{
    return (struct norm){.eps = t->spec.norm_eps,
                         .weight = params_at(&t->params, t->buffers.weights, weight, layer, 0),
                         .bias = params_at(&t->params, t->buffers.weights, bias, layer, 0)};
}

struct linear transformer_linear(const struct transformer *t, enum param_slot weight,
                                 enum param_slot bias, size_t layer)
{
    return (struct linear){.weight = params_at(&t->params, t->buffers.weights, weight, layer, 0),
                           .bias = params_at(&t->params, t->buffers.weights, bias, layer, 0)};
}

struct moe transformer_moe(const struct transformer *t, uint64_t step, size_t layer)
{
    return (struct moe){.params = &t->params,
                        .weights = t->buffers.weights,
                        .gradients = t->buffers.gradients,
                        .layer = layer,
                        .C = t->shape.C,
                        .F = t->shape.F,
                        .E = t->shape.E,
                        .K = t->shape.K,
                        .dropout = t->dropout,
                        .dropout_key = dropout_key(t, step, layer, TRANSFORMER_FFN)};
}

struct embedding transformer_dropout(const struct transformer *t, uint64_t step, size_t layer,
                                     enum transformer_site site)
{
    return (struct embedding){.dropout = t->dropout,
                              .dropout_key = dropout_key(t, step, layer, site)};
}

struct rotary transformer_rotary(const struct transformer *t)
{
    return (struct rotary){.heads_count = t->shape.H,
                           .head_dim = t->shape.D,
                           .rotary_dim = t->shape.rotary_dim,
                           .cosines = t->buffers.rotary_cos,
                           .sines = t->buffers.rotary_sin,
                           .positions = t->buffers.positions};
}

struct attention transformer_attention(const struct transformer *t, uint64_t step, size_t layer)
{
    return (struct attention){.B = t->shape.B,
                              .T = t->shape.T,
                              .H = t->shape.H,
                              .D = t->shape.D,
                              .is_causal = t->spec.is_causal,
                              .dropout = t->dropout,
                              .dropout_key = dropout_key(t, step, layer, TRANSFORMER_ATTENTION)};
}

static void attend_cached(struct transformer *t, size_t index, struct matrix qkv, struct matrix att)
{
    const struct shape *s = &t->shape;
    struct buffers *b = &t->buffers;
    size_t rows = s->B * s->H * s->T;
    struct attention_cache cache = {.B = s->B,
                                    .T = s->T,
                                    .H = s->H,
                                    .D = s->D,
                                    .keys = matrix_rows(b->keys, index * rows, rows),
                                    .values = matrix_rows(b->values, index * rows, rows)};
    attention_cache_put(&t->compute, &cache, b->batch_of, b->positions, qkv);
    attention_cache_read(&t->compute, &cache, b->batch_of, b->positions, qkv, att);
}

/* x_mid = x_in + dropout(out_proj(attention(norm1(x_in)))) */
static void attention_half(struct transformer *t, const struct pass *pass, size_t index,
                           const struct layer_buffers *layer)
{
    const struct compute *compute = &t->compute;
    struct matrix x_in = matrix_rows(layer->x_in, 0, pass->rows);
    struct matrix normed = matrix_rows(t->buffers.normed, 0, pass->rows);
    struct matrix qkv = matrix_rows(layer->qkv, 0, pass->rows);
    struct matrix att = matrix_rows(layer->att, 0, pass->rows);
    struct norm norm = transformer_norm(t, PARAM_NORM1_WEIGHT, PARAM_NORM1_BIAS, index);
    struct linear qkv_proj = transformer_linear(t, PARAM_QKV_WEIGHT, PARAM_QKV_BIAS, index);
    struct linear out_proj = transformer_linear(t, PARAM_OUT_WEIGHT, PARAM_OUT_BIAS, index);
    struct rotary rotary = transformer_rotary(t);
    norm_forward(compute, &norm, x_in, normed, layer->rstd1, layer->mean1);
    linear_forward(compute, &qkv_proj, normed, qkv);
    rotary_apply(compute, &rotary, qkv, false);
    if (pass->is_cached) {
        attend_cached(t, index, qkv, att);
    } else {
        struct attention attention = transformer_attention(t, pass->step, index);
        attention_forward(compute, &attention, qkv, att, layer->lse);
    }
    linear_forward(compute, &out_proj, att, normed);
    struct embedding drop = transformer_dropout(t, pass->step, index, TRANSFORMER_RESIDUAL);
    embedding_add_dropped(compute, &drop, normed, x_in, matrix_rows(layer->x_mid, 0, pass->rows));
}

/* x_out = x_mid + feed-forward(norm2(x_mid)) */
static void ffn_half(struct transformer *t, const struct pass *pass, size_t index,
                     const struct layer_buffers *layer, struct matrix x_out)
{
    const struct compute *compute = &t->compute;
    struct buffers *b = &t->buffers;
    struct matrix x_mid = matrix_rows(layer->x_mid, 0, pass->rows);
    struct matrix normed = matrix_rows(b->normed, 0, pass->rows);
    struct norm norm = transformer_norm(t, PARAM_NORM2_WEIGHT, PARAM_NORM2_BIAS, index);
    norm_forward(compute, &norm, x_mid, normed, layer->rstd2, layer->mean2);
    if (t->spec.ffn == MODEL_FFN_MOE_SWIGLU) {
        struct moe moe = transformer_moe(t, pass->step, index);
        moe_forward(compute, &moe, normed, x_mid, x_out, b, layer, t->expert_tokens);
        return;
    }
    struct matrix hidden = matrix_rows(layer->hidden1, 0, pass->rows);
    struct matrix act = matrix_rows(b->act, 0, pass->rows);
    struct matrix result = matrix_rows(b->routed, 0, pass->rows);
    struct linear fc = transformer_linear(t, PARAM_FC_WEIGHT, PARAM_FC_BIAS, index);
    struct linear proj = transformer_linear(t, PARAM_PROJ_WEIGHT, PARAM_PROJ_BIAS, index);
    struct embedding drop = transformer_dropout(t, pass->step, index, TRANSFORMER_FFN);
    linear_forward(compute, &fc, normed, hidden);
    mlp_gelu(compute, hidden, act);
    linear_forward(compute, &proj, act, result);
    embedding_add_dropped(compute, &drop, result, x_mid, x_out);
}

/* tokens -> x_final, and normed = the final norm of it */
static void forward(struct transformer *t, const struct pass *pass)
{
    struct buffers *b = &t->buffers;
    struct embedding drop = transformer_dropout(t, pass->step, t->shape.L, TRANSFORMER_EMBEDDING);
    embedding_forward(&t->compute, &drop, pass->tokens, b->positions,
                      params_at(&t->params, b->weights, PARAM_TOKEN, 0, 0),
                      params_at(&t->params, b->weights, PARAM_POSITION, 0, 0),
                      matrix_rows(b->layer0.x_in, 0, pass->rows));
    for (size_t index = 0; index < t->shape.L; index++) {
        struct layer_buffers layer = buffers_layer(b, index);
        struct matrix x_out =
            index + 1 < t->shape.L ? buffers_layer(b, index + 1).x_in : b->x_final;
        attention_half(t, pass, index, &layer);
        ffn_half(t, pass, index, &layer, matrix_rows(x_out, 0, pass->rows));
    }
    struct norm norm = transformer_norm(t, PARAM_NORM_WEIGHT, PARAM_NORM_BIAS, 0);
    norm_forward(&t->compute, &norm, matrix_rows(b->x_final, 0, pass->rows),
                 matrix_rows(b->normed, 0, pass->rows), b->final_rstd, b->final_mean);
}

void transformer_forward(struct transformer *t, uint64_t step)
{
    struct pass pass = {.rows = t->shape.N, .tokens = t->buffers.inputs, .step = step};
    forward(t, &pass);
}

struct loss transformer_head(struct transformer *t, struct matrix logits_out)
{
    t->seen = (struct head_seen){0};
    return (struct loss){.head = params_at(&t->params, t->buffers.weights, PARAM_HEAD, 0, 0),
                         .logits = t->buffers.logits,
                         .logits_out = logits_out,
                         .seen = &t->seen};
}

void transformer_infer(struct transformer *t, struct matrix logits_out)
{
    transformer_forward(t, 0);
    struct loss head = transformer_head(t, logits_out);
    loss_logits(&t->compute, &head, t->buffers.normed);
}

double transformer_loss(struct transformer *t, uint64_t step, struct matrix logits_out)
{
    transformer_forward(t, step);
    struct loss head = transformer_head(t, logits_out);
    return loss_cross_entropy(&t->compute, &head, t->buffers.normed, t->buffers.targets,
                              t->buffers.losses, MATRIX_NONE, MATRIX_NONE);
}

void transformer_decode(struct transformer *t, size_t rows_count, bool has_logits,
                        struct matrix logits_out)
{
    ASSERT(t->shape.mode == CELL_MODE_DECODE && rows_count <= t->shape.N);
    struct pass pass = {.rows = rows_count, .tokens = t->buffers.pass_tokens, .is_cached = true};
    forward(t, &pass);
    if (!has_logits)
        return;
    struct loss head = transformer_head(t, logits_out);
    t->cache_position = t->buffers.positions[0];
    loss_logits(&t->compute, &head, matrix_rows(t->buffers.normed, 0, rows_count));
}
