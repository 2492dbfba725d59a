#include "engines/native/buffers.h"

#include <inttypes.h>

#include "engines/native/gemm.h"

/* Floats of logits that exist at once, and the bounds on their rows: large enough for an efficient
 * matmul, small compared with the weights. */
#define LOGITS_FLOATS   ((size_t)16 << 20)
#define LOGITS_ROWS_MIN 128
#define LOGITS_ROWS_MAX 1024

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

enum status shape_init(struct shape *shape, const struct model_spec *spec, enum cell_mode mode,
                       size_t batch_size, size_t seq_len, unsigned threads_count, struct err *err)
{
    struct shape made = {.B = batch_size,
                         .T = seq_len,
                         .C = spec->dim,
                         .H = spec->heads_count,
                         .D = spec->dim / spec->heads_count,
                         .L = spec->layers_count,
                         .F = spec->ffn_hidden,
                         .E = spec->experts_count,
                         .K = spec->experts_active,
                         .V = spec->vocab_size,
                         .rotary_dim = spec->rotary_dim,
                         .mode = mode,
                         .threads_count = threads_count};
    uint64_t rows = 0;
    if (__builtin_mul_overflow((uint64_t)batch_size, (uint64_t)seq_len, &rows) ||
        rows > UINT32_MAX / made.K)
        return ERR(err, STATUS_LIMIT,
                   "batch_size %zu times seq_len %zu times %zu experts is more than the %" PRIu32
                   " rows this engine can route; try batch_size %zu",
                   batch_size, seq_len, made.K, UINT32_MAX,
                   larger(1, UINT32_MAX / made.K / larger(1, seq_len)));
    made.N = (size_t)rows;
    if (mode == CELL_MODE_DECODE)
        made.N = larger(batch_size, smaller(seq_len - 1, PREFILL_ROWS));
    size_t fitting = LOGITS_FLOATS / made.V;
    made.logits_rows = smaller(made.N, smaller(LOGITS_ROWS_MAX, larger(LOGITS_ROWS_MIN, fitting)));
    *shape = made;
    return STATUS_OK;
}

size_t buffers_scores_offset(void)
{
    return gemm_workspace_bytes(1);
}

static bool is_moe(const struct model_spec *spec)
{
    return spec->ffn == MODEL_FFN_MOE_SWIGLU;
}

/* What attention needs of a layer. */
static void place_attention(const struct shape *s, struct layout *layout,
                            struct layer_buffers *layer)
{
    layer->qkv = layout_take_matrix(layout, MATRIX_F32, s->N, 3 * s->C);
    layer->att = layout_take_matrix(layout, MATRIX_F32, s->N, s->C);
}

/* What the feed-forward needs of a layer. */
static void place_hidden(const struct shape *s, const struct model_spec *spec,
                         struct layout *layout, struct layer_buffers *layer)
{
    layer->hidden1 = layout_take_matrix(layout, MATRIX_F32, s->N * s->K, s->F);
    if (is_moe(spec))
        layer->hidden2 = layout_take_matrix(layout, MATRIX_F32, s->N * s->K, s->F);
}

static void place_routes(const struct shape *s, const struct model_spec *spec,
                         struct layout *layout, struct layer_buffers *layer)
{
    if (!is_moe(spec))
        return;
    size_t routed = s->N * s->K;
    layer->expert_of = layout_take(layout, routed, sizeof(uint32_t));
    layer->row_of = layout_take(layout, routed, sizeof(uint32_t));
    layer->token_of = layout_take(layout, routed, sizeof(uint32_t));
    layer->gate_of = layout_take_matrix(layout, MATRIX_F32, s->N, s->K);
    layer->expert_begin = layout_take(layout, s->E + 1, sizeof(size_t));
}

/* Train: everything a backward pass needs of each layer, in equal strides. */
static void place_saved(const struct shape *s, const struct model_spec *spec, struct layout *layout,
                        struct buffers *b)
{
    bool has_mean = spec->norm == MODEL_NORM_LAYER;
    struct layer_buffers *layer = &b->layer0;
    uint64_t begin = layout->used_bytes;
    layer->x_in = layout_take_matrix(layout, MATRIX_F32, s->N, s->C);
    layer->x_mid = layout_take_matrix(layout, MATRIX_F32, s->N, s->C);
    layer->rstd1 = layout_take_matrix(layout, MATRIX_F32, 1, s->N);
    layer->rstd2 = layout_take_matrix(layout, MATRIX_F32, 1, s->N);
    layer->mean1 = has_mean ? layout_take_matrix(layout, MATRIX_F32, 1, s->N) : MATRIX_NONE;
    layer->mean2 = has_mean ? layout_take_matrix(layout, MATRIX_F32, 1, s->N) : MATRIX_NONE;
    layer->lse = layout_take_matrix(layout, MATRIX_F32, s->B * s->H, s->T);
    place_attention(s, layout, layer);
    place_hidden(s, spec, layout, layer);
    place_routes(s, spec, layout, layer);
    uint64_t stride = layout->used_bytes - begin;
    b->layer_stride_bytes = (size_t)stride;
    (void)layout_take(layout, s->L - 1, stride);
    b->x_final = layout_take_matrix(layout, MATRIX_F32, s->N, s->C);
    b->final_rstd = layout_take_matrix(layout, MATRIX_F32, 1, s->N);
    b->final_mean = has_mean ? layout_take_matrix(layout, MATRIX_F32, 1, s->N) : MATRIX_NONE;
}

/* Train: what is alive between layers, and three groups that never meet. */
static void place_train(const struct shape *s, const struct model_spec *spec, struct layout *layout,
                        struct buffers *b)
{
    size_t routed = s->N * s->K;
    place_saved(s, spec, layout, b);
    b->normed = layout_take_matrix(layout, MATRIX_F32, s->N, s->C);
    b->d_x = layout_take_matrix(layout, MATRIX_F32, s->N, s->C);
    b->d_normed = layout_take_matrix(layout, MATRIX_F32, s->N, s->C);
    b->d_out = layout_take_matrix(layout, MATRIX_F32, s->N, s->C);
    uint64_t group = layout->used_bytes;
    b->d_att = layout_take_matrix(layout, MATRIX_F32, s->N, s->C);
    b->d_qkv = layout_take_matrix(layout, MATRIX_F32, s->N, 3 * s->C);
    layout_rewind(layout, group);
    b->act = layout_take_matrix(layout, MATRIX_F32, routed, s->F);
    if (is_moe(spec)) {
        b->routing = layout_take_matrix(layout, MATRIX_F32, s->N, s->E);
        b->d_routed = layout_take_matrix(layout, MATRIX_F32, routed, s->C);
    }
    b->routed = layout_take_matrix(layout, MATRIX_F32, routed, s->C);
    layout_rewind(layout, group);
    b->logits = layout_take_matrix(layout, MATRIX_F32, s->logits_rows, s->V);
    layout_settle(layout);
}

/* Infer and decode: one residual, and three groups that never meet. */
static void place_forward(const struct shape *s, const struct model_spec *spec,
                          struct layout *layout, struct buffers *b)
{
    struct layer_buffers *layer = &b->layer0;
    layer->x_in = layout_take_matrix(layout, MATRIX_F32, s->N, s->C);
    layer->x_mid = layer->x_in;
    b->x_final = layer->x_in;
    b->normed = layout_take_matrix(layout, MATRIX_F32, s->N, s->C);
    uint64_t group = layout->used_bytes;
    place_attention(s, layout, layer);
    layout_rewind(layout, group);
    place_hidden(s, spec, layout, layer);
    b->act = layer->hidden1;
    place_routes(s, spec, layout, layer);
    if (is_moe(spec))
        b->routing = layout_take_matrix(layout, MATRIX_F32, s->N, s->E);
    b->routed = layout_take_matrix(layout, MATRIX_F32, s->N * s->K, s->C);
    layout_rewind(layout, group);
    b->logits = layout_take_matrix(layout, MATRIX_F32, s->logits_rows, s->V);
    layout_settle(layout);
}

static void place_workspace(const struct shape *s, struct layout *layout, struct buffers *b)
{
    size_t rows = s->mode == CELL_MODE_DECODE ? 1 : smaller(ATTENTION_ROWS, s->T);
    if (s->mode == CELL_MODE_TRAIN)
        rows = 2 * rows;
    uint64_t scores = 0;
    if (__builtin_mul_overflow((uint64_t)rows * sizeof(float), (uint64_t)s->T, &scores))
        layout->has_overflowed = true;
    uint64_t begin = layout->used_bytes;
    (void)layout_take(layout, gemm_workspace_bytes(1), 1);
    (void)layout_take(layout, scores, 1);
    uint64_t stride = layout->used_bytes - begin;
    layout_rewind(layout, begin);
    b->thread_workspace_bytes = (size_t)stride;
    b->thread_workspace = layout_take(layout, s->threads_count, stride);
    b->gemm_workspace = layout_take(layout, gemm_workspace_bytes(s->threads_count), 1);
}

static void place_tokens(const struct shape *s, struct layout *layout, struct buffers *b)
{
    b->inputs = layout_take(layout, s->B * s->T, sizeof(uint32_t));
    b->targets = layout_take(layout, s->B * s->T, sizeof(uint32_t));
    b->positions = layout_take(layout, s->N, sizeof(uint32_t));
    if (s->mode == CELL_MODE_DECODE) {
        b->batch_of = layout_take(layout, s->N, sizeof(uint32_t));
        b->pass_tokens = layout_take(layout, s->N, sizeof(uint32_t));
    }
    b->losses = layout_take(layout, s->N, sizeof(double));
    b->rotary_cos = layout_take_matrix(layout, MATRIX_F32, s->T, s->rotary_dim / 2);
    b->rotary_sin = layout_take_matrix(layout, MATRIX_F32, s->T, s->rotary_dim / 2);
}

/* Bytes since the last call. */
static uint64_t part_bytes(const struct layout *layout, uint64_t *seen_bytes)
{
    uint64_t bytes = layout->used_bytes - *seen_bytes;
    *seen_bytes = layout->used_bytes;
    return bytes;
}

enum status buffers_place(const struct shape *shape, const struct model_spec *spec,
                          const struct params_layout *params, struct layout *layout,
                          struct buffers *ret_buffers, struct proto_memory_parts *ret_parts,
                          struct err *err)
{
    struct buffers b = {0};
    struct proto_memory_parts parts = {.is_known = true};
    uint64_t seen_bytes = layout->used_bytes;
    size_t count = params->elements_count;
    if (count == 0)
        layout->has_overflowed = true;
    b.weights = layout_take_matrix(layout, MATRIX_F32, 1, count);
    parts.weights_bytes = part_bytes(layout, &seen_bytes);
    if (shape->mode == CELL_MODE_TRAIN) {
        b.gradients = layout_take_matrix(layout, MATRIX_F32, 1, count);
        parts.gradients_bytes = part_bytes(layout, &seen_bytes);
        b.moment1 = layout_take_matrix(layout, MATRIX_F32, 1, count);
        b.moment2 = layout_take_matrix(layout, MATRIX_F32, 1, count);
        parts.optimizer_bytes = part_bytes(layout, &seen_bytes);
        place_train(shape, spec, layout, &b);
    } else {
        place_forward(shape, spec, layout, &b);
    }
    parts.activations_bytes = part_bytes(layout, &seen_bytes);
    if (shape->mode == CELL_MODE_DECODE) {
        uint64_t cached = (uint64_t)shape->L * shape->B * shape->H * shape->T;
        b.keys = layout_take_matrix(layout, MATRIX_F32, cached, shape->D);
        b.values = layout_take_matrix(layout, MATRIX_F32, cached, shape->D);
        parts.kv_cache_bytes = part_bytes(layout, &seen_bytes);
    }
    place_workspace(shape, layout, &b);
    parts.workspace_bytes = part_bytes(layout, &seen_bytes);
    place_tokens(shape, layout, &b);
    parts.other_bytes = part_bytes(layout, &seen_bytes);
    if (layout->has_overflowed)
        return ERR(err, STATUS_LIMIT, "this cell's memory is beyond what can be counted");
    parts.total_bytes = layout->used_bytes;
    *ret_buffers = b;
    if (ret_parts != NULL)
        *ret_parts = parts;
    return STATUS_OK;
}

static void shift(struct matrix *matrix, size_t bytes)
{
    if (!matrix_is_none(*matrix))
        matrix->data = (char *)matrix->data + bytes;
}

static uint32_t *shifted_index(uint32_t *pointer, size_t bytes)
{
    return pointer == NULL ? NULL : (uint32_t *)(void *)((char *)pointer + bytes);
}

struct layer_buffers buffers_layer(const struct buffers *buffers, size_t layer)
{
    size_t bytes = layer * buffers->layer_stride_bytes;
    struct layer_buffers b = buffers->layer0;
    struct matrix *const matrices[] = {&b.x_in,  &b.x_mid,   &b.rstd1,   &b.mean1,
                                       &b.rstd2, &b.mean2,   &b.qkv,     &b.att,
                                       &b.lse,   &b.hidden1, &b.hidden2, &b.gate_of};
    for (size_t i = 0; i < ARRAY_COUNT(matrices); i++)
        shift(matrices[i], bytes);
    b.expert_of = shifted_index(b.expert_of, bytes);
    b.row_of = shifted_index(b.row_of, bytes);
    b.token_of = shifted_index(b.token_of, bytes);
    if (b.expert_begin != NULL)
        b.expert_begin = (size_t *)(void *)((char *)b.expert_begin + bytes);
    return b;
}
