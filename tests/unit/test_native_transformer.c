/* Gradients against finite differences, decoding against a whole forward, routing against a naive
 * computation of every expert. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "engines/native/session.h"
#include "engines/native/transformer.h"
#include "engines/native/weights.h"

static struct model_spec moe_spec(bool is_causal)
{
    return (struct model_spec){.name = "moe",
                               .vocab_size = 13,
                               .max_seq_len = 5,
                               .dim = 16,
                               .layers_count = 2,
                               .heads_count = 2,
                               .ffn_hidden = 12,
                               .experts_count = 3,
                               .experts_active = 2,
                               .rotary_dim = 4,
                               .rotary_base = 10000.0,
                               .norm_eps = 1e-6,
                               .norm = MODEL_NORM_RMS,
                               .ffn = MODEL_FFN_MOE_SWIGLU,
                               .is_causal = is_causal};
}

static struct model_spec gelu_spec(bool is_causal)
{
    struct model_spec spec = moe_spec(is_causal);
    spec.ffn = MODEL_FFN_GELU;
    spec.norm = MODEL_NORM_LAYER;
    spec.experts_count = 1;
    spec.experts_active = 1;
    spec.rotary_dim = 0;
    spec.is_head_tied = true;
    return spec;
}

/* A model with random weights, none of them zero, and random tokens. */
static struct transformer open_model(const struct model_spec *spec, enum cell_mode mode,
                                     unsigned threads_count)
{
    struct transformer t;
    struct err err = {0};
    struct transformer_shape shape = {.mode = mode,
                                      .batch_size = 2,
                                      .seq_len = spec->max_seq_len,
                                      .threads_count = threads_count};
    cr_assert_eq(transformer_open(spec, &shape, 7, &t, &err), STATUS_OK, "%s", err.text);
    struct model_tensor tensor;
    for (uint32_t i = 0; i < model_tensors_count(spec); i++) {
        model_tensor_at(spec, i, &tensor);
        float *values = matrix_floats(params_of(&t.params, t.buffers.weights, &tensor));
        double middle = tensor.kind == MODEL_TENSOR_NORM ? 1.0 : 0.0;
        for (uint64_t k = 0; k < tensor.elements_count; k++)
            values[k] =
                (float)(middle + 0.8 * (random_unit(random_at(random_key(99, i), k)) - 0.5));
    }
    if (mode != CELL_MODE_DECODE) {
        for (size_t i = 0; i < t.shape.N; i++) {
            t.buffers.inputs[i] = (uint32_t)(random_at(5, i) % spec->vocab_size);
            t.buffers.targets[i] = (uint32_t)(random_at(6, i) % spec->vocab_size);
        }
    }
    return t;
}

/* Central differences of the loss in every single parameter. The model computes in single
 * precision, so a difference over 2 h carries noise of about 1e-7 loss / h. The gradients are those
 * of two threads, the differences of one: in a model so small threads mostly wait for each other.
 */
static void check_gradients(const struct model_spec *spec)
{
    struct transformer t = open_model(spec, CELL_MODE_TRAIN, 2);
    struct transformer alone = open_model(spec, CELL_MODE_TRAIN, 1);
    double loss = transformer_gradients(&t, 3, MATRIX_NONE);
    cr_assert_float_eq(transformer_loss(&t, 3, MATRIX_NONE), loss, 1e-12);
    cr_assert_float_eq(transformer_loss(&alone, 3, MATRIX_NONE), loss, 1e-12);
    const double h = 4e-3;
    struct model_tensor tensor;
    for (uint32_t i = 0; i < model_tensors_count(spec); i++) {
        model_tensor_at(spec, i, &tensor);
        float *values = matrix_floats(params_of(&alone.params, alone.buffers.weights, &tensor));
        const float *gradients = matrix_floats(params_of(&t.params, t.buffers.gradients, &tensor));
        double largest = 0;
        double worst = 0;
        for (uint64_t k = 0; k < tensor.elements_count; k++) {
            float *value = values + k;
            float kept = *value;
            *value = (float)(kept + h);
            double high = transformer_loss(&alone, 3, MATRIX_NONE);
            *value = (float)(kept - h);
            double low = transformer_loss(&alone, 3, MATRIX_NONE);
            *value = kept;
            double difference = (high - low) / (2 * h);
            double gradient = gradients[k];
            largest = fmax(largest, fabs(gradient));
            worst = fmax(worst, fabs(gradient - difference));
        }
        cr_assert(worst <= 4e-3 * largest + 3e-4, "%s: off by %g, largest %g", tensor.name, worst,
                  largest);
    }
    transformer_close(&alone);
    transformer_close(&t);
}

Test(native_transformer, gradients_of_the_moe_model_equal_finite_differences)
{
    struct model_spec spec = moe_spec(false);
    check_gradients(&spec);
}

Test(native_transformer, gradients_of_the_causal_moe_model_equal_finite_differences)
{
    struct model_spec spec = moe_spec(true);
    check_gradients(&spec);
}

Test(native_transformer, gradients_of_the_gelu_model_equal_finite_differences)
{
    struct model_spec spec = gelu_spec(true);
    check_gradients(&spec);
    spec.is_head_tied = false;
    spec.is_causal = false;
    check_gradients(&spec);
}

Test(native_transformer, gradients_with_dropout_equal_finite_differences_under_the_same_masks)
{
    struct model_spec spec = moe_spec(false);
    spec.dropout = 0.25;
    check_gradients(&spec);
    spec = gelu_spec(true);
    spec.dropout = 0.25;
    check_gradients(&spec);
}

Test(native_transformer, dropout_masks_change_with_the_step)
{
    struct model_spec spec = moe_spec(false);
    spec.dropout = 0.25;
    struct transformer t = open_model(&spec, CELL_MODE_TRAIN, 1);
    double first = transformer_loss(&t, 1, MATRIX_NONE);
    cr_assert_neq(first, transformer_loss(&t, 2, MATRIX_NONE));
    cr_assert_eq(first, transformer_loss(&t, 1, MATRIX_NONE));
    transformer_close(&t);
}

/* All logits of a whole forward, and the same tokens one by one through the cache. */
static void check_decode(struct model_spec spec)
{
    spec.max_seq_len = 9;
    spec.is_causal = true;
    struct transformer infer = open_model(&spec, CELL_MODE_INFER, 2);
    struct transformer decode = open_model(&spec, CELL_MODE_DECODE, 2);
    size_t B = infer.shape.B;
    size_t T = infer.shape.T;
    size_t V = infer.shape.V;
    float *whole = calloc(B * T * V, sizeof(*whole));
    float *step = calloc(B * V, sizeof(*step));
    transformer_infer(&infer, matrix_make(whole, MATRIX_F32, infer.shape.N, V));
    memcpy(decode.buffers.inputs, infer.buffers.inputs, B * T * sizeof(uint32_t));
    /* the first positions as open() does it, the rest step by step */
    session_prefill(&decode, 4);
    for (size_t position = 4; position < T; position++) {
        session_decode_step(&decode, position, position, matrix_make(step, MATRIX_F32, B, V));
        for (size_t b = 0; b < B; b++)
            for (size_t i = 0; i < V; i++)
                cr_assert_float_eq(step[b * V + i], whole[(b * T + position) * V + i], 2e-5,
                                   "position %zu", position);
    }
    free(whole);
    free(step);
    transformer_close(&infer);
    transformer_close(&decode);
}

Test(native_transformer, decode_equals_infer_position_by_position)
{
    check_decode(moe_spec(true));
    check_decode(gelu_spec(true));
}

/* Longer than one block of query rows and one block of prefill. */
Test(native_transformer, blocks_of_rows_join_without_a_seam)
{
    struct model_spec spec = moe_spec(true);
    spec.max_seq_len = 300;
    struct transformer infer = open_model(&spec, CELL_MODE_INFER, 2);
    struct transformer decode = open_model(&spec, CELL_MODE_DECODE, 2);
    size_t V = infer.shape.V;
    float *whole = calloc(infer.shape.N * V, sizeof(*whole));
    float *step = calloc(infer.shape.B * V, sizeof(*step));
    transformer_infer(&infer, matrix_make(whole, MATRIX_F32, infer.shape.N, V));
    memcpy(decode.buffers.inputs, infer.buffers.inputs, infer.shape.N * sizeof(uint32_t));
    session_prefill(&decode, 299);
    session_decode_step(&decode, 299, 299, matrix_make(step, MATRIX_F32, infer.shape.B, V));
    for (size_t b = 0; b < 2; b++)
        for (size_t i = 0; i < V; i++)
            cr_assert_float_eq(step[b * V + i], whole[(b * 300 + 299) * V + i], 5e-5);
    free(whole);
    free(step);
    transformer_close(&infer);
    transformer_close(&decode);
}

/* Gradients do not depend on how rows are cut into blocks of queries or of logits: a long row
 * against finite differences in one direction through all parameters. */
static void check_direction(struct model_spec spec)
{
    spec.max_seq_len = 150;
    struct transformer t = open_model(&spec, CELL_MODE_TRAIN, 2);
    t.buffers.logits.rows = 37;
    (void)transformer_gradients(&t, 1, MATRIX_NONE);
    size_t count = t.params.elements_count;
    float *weights = matrix_floats(t.buffers.weights);
    const float *gradients = matrix_floats(t.buffers.gradients);
    double slope = 0;
    for (size_t i = 0; i < count; i++)
        slope += (double)gradients[i] * (double)gradients[i];
    double h = 1e-2 / sqrt(slope);
    double losses[2];
    for (int side = 0; side < 2; side++) {
        double move = side == 0 ? h : -2 * h;
        for (size_t i = 0; i < count; i++)
            weights[i] += (float)(move * (double)gradients[i]);
        losses[side] = transformer_loss(&t, 1, MATRIX_NONE);
    }
    double difference = (losses[0] - losses[1]) / (2 * h);
    cr_assert_float_eq(difference / slope, 1.0, 5e-3, "%g is not %g", difference, slope);
    transformer_close(&t);
}

Test(native_transformer, gradients_of_long_rows_follow_the_loss)
{
    check_direction(gelu_spec(true));
    check_direction(gelu_spec(false));
    struct model_spec spec = gelu_spec(true);
    spec.dropout = 0.2;
    check_direction(spec);
    spec.rotary_dim = 8;
    spec.rotary_base = 100.0;
    check_direction(spec);
}

Test(native_transformer, equal_runs_give_equal_bits)
{
    struct model_spec spec = moe_spec(false);
    spec.dropout = 0.1;
    struct transformer a = open_model(&spec, CELL_MODE_TRAIN, 3);
    struct transformer b = open_model(&spec, CELL_MODE_TRAIN, 3);
    for (uint64_t step = 0; step < 3; step++) {
        double loss = transformer_gradients(&a, step, MATRIX_NONE);
        cr_assert_eq(loss, transformer_gradients(&b, step, MATRIX_NONE));
        cr_assert_arr_eq(matrix_floats(a.buffers.gradients), matrix_floats(b.buffers.gradients),
                         a.params.elements_count * sizeof(float));
    }
    transformer_close(&a);
    transformer_close(&b);
}
