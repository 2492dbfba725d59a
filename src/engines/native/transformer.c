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
    const uint32_t *tokens;
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
    rotary_table(t->shape.T, t->shape.rotary_dim, t->spec.rotary_base, b->rotary_cos,
                 b->rotary_sin);
    if (t->shape.mode != CELL_MODE_DECODE)
        for (size_t row = 0; row < t->shape.N; row++)
            b->positions[row] = (uint32_t)(row % t->shape.T);
}

enum status transformer_open(const struct model_spec *spec, const struct transformer_shape *shape,
                             uint64_t seed, struct transformer *ret, struct err *err)
{
    struct transformer t = {.spec = *spec, .seed = seed};
    t.dropout = shape->mode == CELL_MODE_TRAIN ? spec->dropout : 0.0;
    struct layout layout = {0};
    enum status status = plan(spec, shape, &layout, &t, err);
    if (status == STATUS_OK)
        status = arena_open(layout.used_bytes, &t.arena, err);
    if (status == STATUS_OK)
        status = pool_new(shape->threads_count, &t.pool, err);
    if (status == STATUS_OK) {
        layout = (struct layout){.base = (uintptr_t)t.arena.data};
        status = buffers_place(&t.shape, spec, &t.params, &layout, &t.buffers, NULL, err);
    }
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

uint64_t transformer_dropout_key(const struct transformer *t, uint64_t step, size_t layer,
                                 enum transformer_site site)
{
    uint64_t step_key = random_key(random_key(t->seed, DROPOUT_STREAM), step);
    return random_key(step_key, (uint64_t)layer * SITES_COUNT + (uint64_t)site);
}

struct norm transformer_norm(const struct transformer *t, enum param_slot weight,
                             enum param_slot bias, size_t layer)
{
    return (struct norm){.dim = t->shape.C,
                         .eps = t->spec.norm_eps,
                         .weight = params_at(&t->params, t->buffers.weights, weight, layer, 0),
                         .bias = params_at(&t->params, t->buffers.weights, bias, layer, 0)};
}

struct linear transformer_linear(const struct transformer *t, enum param_slot weight,
                                 enum param_slot bias, size_t layer, size_t in, size_t out)
{
    return (struct linear){.in = in,
                           .out = out,
                           .weight = params_at(&t->params, t->buffers.weights, weight, layer, 0),
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
                        .dropout_key = transformer_dropout_key(t, step, layer, SITE_FFN)};
}

struct embedding transformer_dropout(const struct transformer *t, uint64_t step, size_t layer,
                                     enum transformer_site site)
{
    return (struct embedding){.dim = t->shape.C,
                              .dropout = t->dropout,
                              .dropout_key = transformer_dropout_key(t, step, layer, site)};
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
                              .dropout_key =
                                  transformer_dropout_key(t, step, layer, SITE_ATTENTION)};
}

static void attend_cached(struct transformer *t, const struct pass *pass, size_t index,
                          const struct layer_buffers *layer)
{
    const struct shape *s = &t->shape;
    struct buffers *b = &t->buffers;
    size_t layer_floats = s->B * s->T * s->C;
    struct attention_cache cache = {.B = s->B,
                                    .T = s->T,
                                    .H = s->H,
                                    .D = s->D,
                                    .keys = b->keys + index * layer_floats,
                                    .values = b->values + index * layer_floats};
    attention_cache_put(&t->compute, &cache, pass->rows, b->batch_of, b->positions, layer->qkv);
    attention_cache_read(&t->compute, &cache, pass->rows, b->batch_of, b->positions, layer->qkv,
                         layer->att);
}

/* x_mid = x_in + dropout(out_proj(attention(norm1(x_in)))) */
static void attention_half(struct transformer *t, const struct pass *pass, size_t index,
                           const struct layer_buffers *layer)
{
    const struct compute *compute = &t->compute;
    size_t C = t->shape.C;
    float *normed = t->buffers.normed;
    struct norm norm = transformer_norm(t, PARAM_NORM1_WEIGHT, PARAM_NORM1_BIAS, index);
    struct linear qkv = transformer_linear(t, PARAM_QKV_WEIGHT, PARAM_QKV_BIAS, index, C, 3 * C);
    struct linear out = transformer_linear(t, PARAM_OUT_WEIGHT, PARAM_OUT_BIAS, index, C, C);
    struct rotary rotary = transformer_rotary(t);
    norm_forward(compute, &norm, pass->rows, layer->x_in, normed, layer->rstd1, layer->mean1);
    linear_forward(compute, &qkv, pass->rows, normed, layer->qkv);
    rotary_apply(compute, &rotary, pass->rows, layer->qkv, false);
    if (pass->is_cached) {
        attend_cached(t, pass, index, layer);
    } else {
        struct attention attention = transformer_attention(t, pass->step, index);
        attention_forward(compute, &attention, layer->qkv, layer->att, layer->lse);
    }
    linear_forward(compute, &out, pass->rows, layer->att, normed);
    struct embedding drop = transformer_dropout(t, pass->step, index, SITE_RESIDUAL);
    embedding_add_dropped(compute, &drop, pass->rows, normed, layer->x_in, layer->x_mid);
}

/* x_out = x_mid + feed-forward(norm2(x_mid)) */
static void ffn_half(struct transformer *t, const struct pass *pass, size_t index,
                     struct layer_buffers *layer, float *x_out)
{
    const struct compute *compute = &t->compute;
    struct buffers *b = &t->buffers;
    size_t C = t->shape.C;
    size_t F = t->shape.F;
    struct norm norm = transformer_norm(t, PARAM_NORM2_WEIGHT, PARAM_NORM2_BIAS, index);
    norm_forward(compute, &norm, pass->rows, layer->x_mid, b->normed, layer->rstd2, layer->mean2);
    if (t->spec.ffn == MODEL_FFN_MOE_SWIGLU) {
        struct moe moe = transformer_moe(t, pass->step, index);
        moe_forward(compute, &moe, pass->rows, b->normed, layer->x_mid, x_out, b, layer,
                    t->expert_tokens);
        return;
    }
    struct linear fc = transformer_linear(t, PARAM_FC_WEIGHT, PARAM_FC_BIAS, index, C, F);
    struct linear proj = transformer_linear(t, PARAM_PROJ_WEIGHT, PARAM_PROJ_BIAS, index, F, C);
    struct embedding drop = transformer_dropout(t, pass->step, index, SITE_FFN);
    linear_forward(compute, &fc, pass->rows, b->normed, layer->hidden1);
    mlp_gelu(compute, pass->rows, F, layer->hidden1, b->act);
    linear_forward(compute, &proj, pass->rows, b->act, b->routed);
    embedding_add_dropped(compute, &drop, pass->rows, b->routed, layer->x_mid, x_out);
}

/* tokens -> x_final, and normed = the final norm of it */
static void forward(struct transformer *t, const struct pass *pass)
{
    struct buffers *b = &t->buffers;
    struct embedding drop = transformer_dropout(t, pass->step, t->shape.L, SITE_EMBEDDING);
    embedding_forward(&t->compute, &drop, pass->rows, pass->tokens, b->positions,
                      params_at(&t->params, b->weights, PARAM_TOKEN, 0, 0),
                      params_at(&t->params, b->weights, PARAM_POSITION, 0, 0), b->layer0.x_in);
    for (size_t index = 0; index < t->shape.L; index++) {
        struct layer_buffers layer = buffers_layer(b, index);
        float *x_out = index + 1 < t->shape.L ? buffers_layer(b, index + 1).x_in : b->x_final;
        attention_half(t, pass, index, &layer);
        ffn_half(t, pass, index, &layer, x_out);
    }
    struct norm norm = transformer_norm(t, PARAM_NORM_WEIGHT, PARAM_NORM_BIAS, 0);
    norm_forward(&t->compute, &norm, pass->rows, b->x_final, b->normed, b->final_rstd,
                 b->final_mean);
}

void transformer_forward(struct transformer *t, uint64_t step)
{
    struct pass pass = {.rows = t->shape.N, .tokens = t->buffers.inputs, .step = step};
    forward(t, &pass);
}

struct loss transformer_head(const struct transformer *t, float *logits_out)
{
    return (struct loss){.C = t->shape.C,
                         .V = t->shape.V,
                         .head = params_at(&t->params, t->buffers.weights, PARAM_HEAD, 0, 0),
                         .logits = t->buffers.logits,
                         .logits_rows = t->shape.logits_rows,
                         .logits_out = logits_out};
}

void transformer_infer(struct transformer *t, float *logits_out)
{
    transformer_forward(t, 0);
    struct loss head = transformer_head(t, logits_out);
    loss_logits(&t->compute, &head, t->shape.N, t->buffers.normed);
}

double transformer_loss(struct transformer *t, uint64_t step, float *logits_out)
{
    transformer_forward(t, step);
    struct loss head = transformer_head(t, logits_out);
    return loss_cross_entropy(&t->compute, &head, t->shape.N, t->buffers.normed, t->buffers.targets,
                              t->buffers.losses, NULL, NULL);
}

void transformer_decode(struct transformer *t, size_t rows_count, bool has_logits,
                        float *logits_out)
{
    ASSERT(t->shape.mode == CELL_MODE_DECODE && rows_count <= t->shape.N);
    struct pass pass = {.rows = rows_count, .tokens = t->buffers.pass_tokens, .is_cached = true};
    forward(t, &pass);
    if (!has_logits)
        return;
    struct loss head = transformer_head(t, logits_out);
    loss_logits(&t->compute, &head, rows_count, t->buffers.normed);
}
