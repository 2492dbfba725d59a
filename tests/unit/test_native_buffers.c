/* The memory plan: counted and taken by the same function, so what is checked here is that buffers
 * do not overlap while both are alive, that parts add up, and that no size can overflow. */
#include <criterion/criterion.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engines/native/gemm.h"
#include "engines/native/transformer.h"

static struct model_spec moe_spec(void)
{
    return (struct model_spec){.name = "moe",
                               .vocab_size = 50,
                               .max_seq_len = 24,
                               .dim = 16,
                               .layers_count = 3,
                               .heads_count = 2,
                               .ffn_hidden = 20,
                               .experts_count = 4,
                               .experts_active = 2,
                               .rotary_dim = 8,
                               .rotary_base = 10000.0,
                               .norm_eps = 1e-6};
}

static struct proto_memory_parts plan_of(const struct model_spec *spec, enum cell_mode mode,
                                         size_t batch_size, size_t seq_len, unsigned threads_count)
{
    struct transformer_shape shape = {
        .mode = mode, .batch_size = batch_size, .seq_len = seq_len, .threads_count = threads_count};
    struct proto_memory_parts parts;
    struct err err = {0};
    cr_assert_eq(transformer_plan(spec, &shape, &parts, &err), STATUS_OK, "%s", err.text);
    return parts;
}

static uint64_t sum_of(const struct proto_memory_parts *parts)
{
    return parts->weights_bytes + parts->gradients_bytes + parts->optimizer_bytes +
           parts->activations_bytes + parts->kv_cache_bytes + parts->workspace_bytes +
           parts->other_bytes;
}

Test(native_buffers, parts_add_up_and_belong_to_their_mode)
{
    struct model_spec spec = moe_spec();
    for (int mode = 0; mode < CELL_MODE_COUNT; mode++) {
        struct proto_memory_parts parts = plan_of(&spec, (enum cell_mode)mode, 3, 20, 2);
        cr_assert_geq(parts.total_bytes, sum_of(&parts));
        cr_assert_lt(parts.total_bytes - sum_of(&parts), ARENA_HUGE_BYTES);
        cr_assert_geq(parts.weights_bytes, model_params_total(&spec) * sizeof(float));
        bool is_train = mode == CELL_MODE_TRAIN;
        cr_assert_eq(parts.gradients_bytes, is_train ? parts.weights_bytes : 0);
        cr_assert_eq(parts.optimizer_bytes, is_train ? 2 * parts.weights_bytes : 0);
        /* keys and values of 3 layers, 3 rows, 20 positions, 16 dims; both a multiple of 64 */
        cr_assert_eq(parts.kv_cache_bytes,
                     mode == CELL_MODE_DECODE ? 2 * 3 * 3 * 20 * 16 * sizeof(float) : 0);
    }
}

Test(native_buffers, training_keeps_exactly_the_routed_rows)
{
    struct model_spec spec = moe_spec();
    spec.layers_count = 1;
    uint64_t one = plan_of(&spec, CELL_MODE_TRAIN, 32, 16, 1).activations_bytes;
    spec.layers_count = 2;
    uint64_t two = plan_of(&spec, CELL_MODE_TRAIN, 32, 16, 1).activations_bytes;
    /* Per token and layer: x_in, x_mid, qkv, att (6 C), two norm statistics, log-sum-exp (H),
     * K times two hidden rows and four indices; and the experts' begins once. N = 512. */
    uint64_t floats = 6 * 16 + 2 + 2 + 2 * (2 * 20 + 4);
    uint64_t begins = 64; /* 5 of 8 bytes, to a multiple of 64 */
    cr_assert_eq(two - one, 512 * floats * sizeof(float) + begins);
}

Test(native_buffers, infer_does_not_grow_with_layers)
{
    struct model_spec spec = moe_spec();
    uint64_t three = plan_of(&spec, CELL_MODE_INFER, 8, 16, 1).activations_bytes;
    spec.layers_count = 6;
    cr_assert_eq(plan_of(&spec, CELL_MODE_INFER, 8, 16, 1).activations_bytes, three);
}

Test(native_buffers, logits_are_a_block_of_rows_not_all)
{
    struct model_spec spec = moe_spec();
    spec.vocab_size = 64000;
    uint64_t small = plan_of(&spec, CELL_MODE_TRAIN, 64, 24, 1).activations_bytes;
    /* 64 * 24 rows of 64000 logits alone would be 393 MB */
    cr_assert_lt(small, (uint64_t)80 << 20);
}

Test(native_buffers, impossible_sizes_are_an_error_and_not_a_small_number)
{
    struct model_spec spec = moe_spec();
    spec.max_seq_len = 1 << 24;
    struct transformer_shape shape = {
        .mode = CELL_MODE_TRAIN, .batch_size = UINT32_MAX, .seq_len = 1 << 24, .threads_count = 1};
    struct proto_memory_parts parts = {.total_bytes = 77};
    struct err err = {0};
    cr_assert_eq(transformer_plan(&spec, &shape, &parts, &err), STATUS_LIMIT);
    cr_assert_eq(parts.total_bytes, 77);
    cr_assert(strstr(err.text, "batch_size") != NULL, "%s", err.text);

    /* every field at the largest value that spec/model.c takes */
    spec = (struct model_spec){.vocab_size = 1 << 24,
                               .max_seq_len = 1 << 24,
                               .dim = 1 << 20,
                               .layers_count = 4096,
                               .heads_count = 4096,
                               .ffn_hidden = 1 << 22,
                               .experts_count = 64,
                               .experts_active = 1};
    shape.batch_size = 255;
    err = (struct err){0};
    enum status status = transformer_plan(&spec, &shape, &parts, &err);
    cr_assert_eq(status, STATUS_LIMIT, "%d %s", (int)status, err.text);
    cr_assert_eq(parts.total_bytes, 77, "untouched");
}

struct span {
    const char *name;
    const void *begin;
    size_t bytes;
};

static void assert_apart(const struct span *spans, size_t count, const struct transformer *t)
{
    for (size_t i = 0; i < count; i++) {
        const char *begin = spans[i].begin;
        cr_assert(begin >= t->arena.data &&
                      begin + spans[i].bytes <= t->arena.data + t->arena.bytes,
                  "%s is outside", spans[i].name);
        for (size_t j = 0; j < i; j++) {
            const char *other = spans[j].begin;
            cr_assert(begin + spans[i].bytes <= other || other + spans[j].bytes <= begin,
                      "%s and %s overlap", spans[i].name, spans[j].name);
        }
    }
}

#define SPAN(pointer, count)                              \
    {                                                     \
#pointer, (pointer), (count) * sizeof(*(pointer)) \
    }

/* The matrix must also have as many elements as are counted here. */
#define MATRIX_SPAN(matrix, count)                                                              \
    {                                                                                           \
#matrix, (matrix).data,                                                                 \
            (matrix).rows *(matrix).columns == (count) ? (count) * sizeof(float) : SIZE_MAX / 2 \
    }

Test(native_buffers, buffers_that_live_at_once_do_not_overlap)
{
    struct model_spec spec = moe_spec();
    struct transformer_shape shape = {
        .mode = CELL_MODE_TRAIN, .batch_size = 3, .seq_len = 24, .threads_count = 2};
    struct transformer t;
    struct err err = {0};
    cr_assert_eq(transformer_open(&spec, &shape, 1, &t, &err), STATUS_OK, "%s", err.text);
    const struct buffers *b = &t.buffers;
    struct layer_buffers first = buffers_layer(b, 0);
    struct layer_buffers last = buffers_layer(b, 2);
    size_t N = 72, C = 16, F = 20, K = 2, P = t.params.elements_count;
    const struct span feed_forward[] = {
        MATRIX_SPAN(b->weights, P),
        MATRIX_SPAN(b->gradients, P),
        MATRIX_SPAN(b->moment1, P),
        MATRIX_SPAN(b->moment2, P),
        MATRIX_SPAN(first.x_in, N * C),
        MATRIX_SPAN(first.hidden2, N * K * F),
        MATRIX_SPAN(last.x_in, N * C),
        MATRIX_SPAN(last.x_mid, N * C),
        MATRIX_SPAN(last.rstd1, N),
        MATRIX_SPAN(last.qkv, N * 3 * C),
        MATRIX_SPAN(last.att, N * C),
        MATRIX_SPAN(last.lse, N * 2),
        MATRIX_SPAN(last.hidden1, N * K * F),
        MATRIX_SPAN(last.hidden2, N * K * F),
        SPAN(last.row_of, N * K),
        SPAN(last.expert_begin, 5),
        MATRIX_SPAN(b->x_final, N * C),
        MATRIX_SPAN(b->normed, N * C),
        MATRIX_SPAN(b->d_x, N * C),
        MATRIX_SPAN(b->d_normed, N * C),
        MATRIX_SPAN(b->d_out, N * C),
        MATRIX_SPAN(b->act, N * K * F),
        MATRIX_SPAN(b->routing, N * 4),
        MATRIX_SPAN(b->d_routed, N * K * C),
        MATRIX_SPAN(b->routed, N * K * C),
        SPAN(b->inputs, N),
        SPAN(b->losses, N),
        SPAN(b->thread_workspace, 2 * b->thread_workspace_bytes),
        {"gemm_workspace", b->gemm_workspace, gemm_workspace_bytes(2)},
    };
    assert_apart(feed_forward, sizeof(feed_forward) / sizeof(feed_forward[0]), &t);
    const struct span attention[] = {
        MATRIX_SPAN(last.qkv, N * 3 * C), MATRIX_SPAN(last.lse, N * 2),
        MATRIX_SPAN(b->d_att, N * C),     MATRIX_SPAN(b->d_qkv, N * 3 * C),
        MATRIX_SPAN(b->d_out, N * C),     MATRIX_SPAN(b->normed, N * C),
        MATRIX_SPAN(b->d_x, N * C),       SPAN(b->losses, N),
    };
    assert_apart(attention, sizeof(attention) / sizeof(attention[0]), &t);
    transformer_close(&t);
}

Test(native_buffers, every_tensor_has_its_own_place)
{
    struct model_spec spec = moe_spec();
    struct params_layout layout;
    params_layout_init(&layout, &spec);
    size_t begins[128];
    size_t ends[128];
    uint32_t count = model_tensors_count(&spec);
    cr_assert_leq(count, 128);
    struct model_tensor tensor;
    float *elements = calloc(layout.elements_count, sizeof(*elements));
    struct matrix run = matrix_make(elements, MATRIX_F32, 1, layout.elements_count);
    for (uint32_t i = 0; i < count; i++) {
        model_tensor_at(&spec, i, &tensor);
        struct matrix place = params_of(&layout, run, &tensor);
        cr_assert_eq(place.columns, tensor.dims[tensor.dims_count - 1]);
        begins[i] = (size_t)(matrix_floats(place) - elements);
        ends[i] = begins[i] + (size_t)tensor.elements_count;
        cr_assert_eq(begins[i] % 16, 0);
        cr_assert_leq(ends[i], layout.elements_count, "%s", tensor.name);
        for (uint32_t j = 0; j < i; j++)
            cr_assert(ends[i] <= begins[j] || ends[j] <= begins[i], "%s overlaps tensor %u",
                      tensor.name, j);
    }
    free(elements);
}
