#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

#include "base/random.h"
#include "engines/native/transformer.h"
#include "engines/native/weights.h"

static struct model_spec gpt_spec(void)
{
    return (struct model_spec){.name = "gelu",
                               .vocab_size = 1000,
                               .max_seq_len = 32,
                               .dim = 64,
                               .layers_count = 2,
                               .heads_count = 4,
                               .ffn_hidden = 96,
                               .experts_count = 1,
                               .experts_active = 1,
                               .norm_eps = 1e-5,
                               .norm = MODEL_NORM_LAYER,
                               .ffn = MODEL_FFN_GELU,
                               .is_head_tied = true};
}

static float *make(const struct model_spec *spec, const struct params_layout *params, uint64_t seed,
                   unsigned threads_count)
{
    struct pool *pool = NULL;
    struct err err = {0};
    cr_assert_eq(pool_new(threads_count, &pool, &err), STATUS_OK);
    float *weights = calloc(params->elements_count, sizeof(*weights));
    struct compute compute = {.pool = pool};
    weights_init(&compute, spec, params, seed,
                 matrix_make(weights, MATRIX_F32, 1, params->elements_count));
    pool_free(pool);
    return weights;
}

static const float *tensor_in(float *weights, const struct params_layout *params,
                              const struct model_tensor *tensor)
{
    struct matrix run = matrix_make(weights, MATRIX_F32, 1, params->elements_count);
    return matrix_floats(params_of(params, run, tensor));
}

struct moments {
    double mean, deviation, min, max;
};

static struct moments moments_of(const float *values, uint64_t count)
{
    struct moments m = {.min = INFINITY, .max = -INFINITY};
    double squares = 0;
    for (uint64_t i = 0; i < count; i++) {
        m.mean += (double)values[i];
        squares += (double)values[i] * (double)values[i];
        m.min = fmin(m.min, (double)values[i]);
        m.max = fmax(m.max, (double)values[i]);
    }
    m.mean /= (double)count;
    m.deviation = sqrt(squares / (double)count - m.mean * m.mean);
    return m;
}

Test(native_weights, every_kind_has_its_published_distribution)
{
    struct model_spec spec = gpt_spec();
    struct params_layout params;
    params_layout_init(&params, &spec);
    float *weights = make(&spec, &params, 42, 2);
    struct model_tensor tensor;
    for (uint32_t i = 0; i < model_tensors_count(&spec); i++) {
        model_tensor_at(&spec, i, &tensor);
        double n = (double)tensor.elements_count;
        struct moments m = moments_of(tensor_in(weights, &params, &tensor), tensor.elements_count);
        switch (tensor.kind) {
        case MODEL_TENSOR_EMBEDDING: /* N(0, 0.02): five standard errors */
            cr_assert_lt(fabs(m.mean), 5 * 0.02 / sqrt(n));
            cr_assert_lt(fabs(m.deviation - 0.02), 5 * 0.02 / sqrt(2 * n));
            cr_assert(m.max > 0.06 && m.max < 0.13 && m.min < -0.06 && m.min > -0.13);
            break;
        case MODEL_TENSOR_LINEAR: {
            double limit = sqrt(6.0 / (double)(tensor.dims[0] + tensor.dims[1]));
            cr_assert(m.max <= limit * 1.000001 && m.max > 0.99 * limit, "%s", tensor.name);
            cr_assert(m.min >= -limit * 1.000001 && m.min < -0.99 * limit, "%s", tensor.name);
            cr_assert_lt(fabs(m.mean), 5 * limit / sqrt(3 * n));
            break;
        }
        case MODEL_TENSOR_NORM: cr_assert(m.min == 1.0 && m.max == 1.0); break;
        case MODEL_TENSOR_POSITION:
        case MODEL_TENSOR_BIAS: cr_assert(m.min == 0.0 && m.max == 0.0, "%s", tensor.name); break;
        }
    }
    free(weights);
}

Test(native_weights, depend_on_the_seed_and_not_on_threads)
{
    struct model_spec spec = gpt_spec();
    struct params_layout params;
    params_layout_init(&params, &spec);
    float *one = make(&spec, &params, 42, 1);
    float *three = make(&spec, &params, 42, 3);
    float *other = make(&spec, &params, 43, 1);
    cr_assert_arr_eq(one, three, params.elements_count * sizeof(float));
    size_t same = 0;
    for (size_t i = 0; i < 1000; i++)
        same += one[i] == other[i];
    cr_assert_lt(same, 5);
    free(one);
    free(three);
    free(other);
}

/* The formula of weights.h, written out for one element of each random kind. */
Test(native_weights, single_elements_follow_from_the_documented_formula)
{
    struct model_spec spec = gpt_spec();
    struct params_layout params;
    params_layout_init(&params, &spec);
    float *weights = make(&spec, &params, 42, 1);
    uint64_t embedding = random_key(random_key(42, WEIGHTS_STREAM), 0);
    double radius = sqrt(-2.0 * log(1.0 - random_unit(random_at(embedding, 6))));
    double angle = 2.0 * acos(-1.0) * random_unit(random_at(embedding, 7));
    cr_assert_float_eq(weights[6], 0.02 * radius * cos(angle), 1e-7);
    cr_assert_float_eq(weights[7], 0.02 * radius * sin(angle), 1e-7);
    /* tensor 4: layers.0.attn.qkv_proj.weight (192, 64), behind norm1's weight and bias */
    struct model_tensor tensor;
    model_tensor_at(&spec, 4, &tensor);
    cr_assert_str_eq(tensor.name, "layers.0.attn.qkv_proj.weight");
    uint64_t linear = random_key(random_key(42, WEIGHTS_STREAM), 4);
    double unit = random_unit(random_at(linear, 100));
    cr_assert_float_eq(tensor_in(weights, &params, &tensor)[100],
                       sqrt(6.0 / 256.0) * (2.0 * unit - 1.0), 1e-7);
    free(weights);
}
