/* Routing against every expert computed in double for every token. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "base/random.h"
#include "engines/native/transformer.h"

#define DIM     16
#define HIDDEN  10
#define EXPERTS 6
#define ROWS    12

static double uniform(uint64_t key, uint64_t index)
{
    return 2.0 * random_unit(random_at(key, index)) - 1.0;
}

static struct transformer open_model(uint32_t experts_active)
{
    struct model_spec spec = {.name = "moe",
                              .vocab_size = 7,
                              .max_seq_len = ROWS / 2,
                              .dim = DIM,
                              .layers_count = 2,
                              .heads_count = 2,
                              .ffn_hidden = HIDDEN,
                              .experts_count = EXPERTS,
                              .experts_active = experts_active,
                              .rotary_base = 10000.0,
                              .norm_eps = 1e-6};
    struct transformer_shape shape = {
        .mode = CELL_MODE_INFER, .batch_size = 2, .seq_len = ROWS / 2, .threads_count = 3};
    struct transformer t;
    struct err err = {0};
    cr_assert_eq(transformer_open(&spec, &shape, 1, &t, &err), STATUS_OK, "%s", err.text);
    float *weights = matrix_floats(t.buffers.weights);
    for (size_t i = 0; i < t.params.elements_count; i++)
        weights[i] = (float)uniform(3, i);
    return t;
}

static double dot(const float *a, const double *b, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += (double)a[i] * b[i];
    return sum;
}

static const float *weight_of(const struct transformer *t, enum param_slot slot, size_t layer,
                              size_t expert)
{
    return matrix_floats(params_at(&t->params, t->buffers.weights, slot, layer, expert));
}

static void expert_in_double(const struct transformer *t, size_t layer, size_t expert,
                             const double *x, double *out)
{
    double act[HIDDEN];
    for (size_t f = 0; f < HIDDEN; f++) {
        double h1 = dot(weight_of(t, PARAM_W1_WEIGHT, layer, expert) + f * DIM, x, DIM) +
                    (double)weight_of(t, PARAM_W1_BIAS, layer, expert)[f];
        double h2 = dot(weight_of(t, PARAM_W2_WEIGHT, layer, expert) + f * DIM, x, DIM) +
                    (double)weight_of(t, PARAM_W2_BIAS, layer, expert)[f];
        act[f] = h1 / (1.0 + exp(-h1)) * h2;
    }
    for (size_t c = 0; c < DIM; c++)
        out[c] = dot(weight_of(t, PARAM_W3_WEIGHT, layer, expert) + c * HIDDEN, act, HIDDEN) +
                 (double)weight_of(t, PARAM_W3_BIAS, layer, expert)[c];
}

/* Softmax over all logits, kept where fewer than K are larger, made to sum to 1 again. */
static void moe_in_double(const struct transformer *t, size_t layer, const double *x, double *out)
{
    double logits[EXPERTS];
    double sum = 0;
    for (size_t e = 0; e < EXPERTS; e++)
        logits[e] = dot(weight_of(t, PARAM_GATE_WEIGHT, layer, 0) + e * DIM, x, DIM);
    double gates[EXPERTS];
    for (size_t e = 0; e < EXPERTS; e++) {
        size_t larger = 0;
        for (size_t other = 0; other < EXPERTS; other++)
            larger += logits[other] > logits[e];
        gates[e] = larger < t->shape.K ? exp(logits[e]) : 0.0;
        sum += gates[e];
    }
    memset(out, 0, DIM * sizeof(*out));
    for (size_t e = 0; e < EXPERTS; e++) {
        double result[DIM];
        expert_in_double(t, layer, e, x, result);
        for (size_t c = 0; c < DIM; c++)
            out[c] += gates[e] / sum * result[c];
    }
}

static void check_layer(uint32_t experts_active)
{
    const size_t layer_index = 1;
    struct transformer t = open_model(experts_active);
    struct layer_buffers layer = buffers_layer(&t.buffers, layer_index);
    struct moe moe = transformer_moe(&t, 0, layer_index);
    float normed[ROWS * DIM];
    float residual[ROWS * DIM];
    float out[ROWS * DIM];
    for (size_t i = 0; i < ROWS * DIM; i++) {
        normed[i] = (float)uniform(4, i);
        residual[i] = (float)uniform(5, i);
    }
    uint64_t expert_tokens[PROTO_EXPERTS_MAX] = {0};
    moe_forward(&t.compute, &moe, matrix_make(normed, MATRIX_F32, ROWS, DIM),
                matrix_make(residual, MATRIX_F32, ROWS, DIM),
                matrix_make(out, MATRIX_F32, ROWS, DIM), &t.buffers, &layer, expert_tokens);
    for (size_t row = 0; row < ROWS; row++) {
        double x[DIM];
        double wanted[DIM];
        for (size_t c = 0; c < DIM; c++)
            x[c] = (double)normed[row * DIM + c];
        moe_in_double(&t, layer_index, x, wanted);
        for (size_t c = 0; c < DIM; c++) {
            double value = (double)out[row * DIM + c] - (double)residual[row * DIM + c];
            cr_assert_float_eq(value, wanted[c], 2e-5, "K %u row %zu column %zu: %g is not %g",
                               experts_active, row, c, value, wanted[c]);
        }
    }
    uint64_t routed = 0;
    for (size_t e = 0; e < EXPERTS; e++)
        routed += expert_tokens[e];
    cr_assert_eq(routed, ROWS * experts_active);
    transformer_close(&t);
}

Test(native_moe, chosen_experts_equal_all_experts_masked)
{
    check_layer(1);
    check_layer(2);
    check_layer(3);
    check_layer(EXPERTS);
}

Test(native_moe, logits_that_are_not_numbers_still_choose_different_experts)
{
    struct transformer t = open_model(3);
    struct layer_buffers layer = buffers_layer(&t.buffers, 0);
    struct moe moe = transformer_moe(&t, 0, 0);
    float normed[DIM];
    float out[DIM] = {0};
    for (size_t i = 0; i < DIM; i++)
        normed[i] = NAN;
    uint64_t expert_tokens[PROTO_EXPERTS_MAX] = {0};
    struct matrix row = matrix_make(out, MATRIX_F32, 1, DIM);
    moe_forward(&t.compute, &moe, matrix_make(normed, MATRIX_F32, 1, DIM), row, row, &t.buffers,
                &layer, expert_tokens);
    for (size_t e = 0; e < EXPERTS; e++)
        cr_assert_leq(expert_tokens[e], 1);
    cr_assert(isnan(out[0]));
    transformer_close(&t);
}
