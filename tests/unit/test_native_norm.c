/* Both norms against their formula in double, and their gradients against its finite differences.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/random.h"
#include "engines/native/norm.h"

#define ROWS    3
#define DIM_MAX 150
#define EPS     1e-3

/* One case; of RMSNorm the bias is not used. */
struct values {
    size_t dim;
    bool is_layer;
    float x[ROWS * DIM_MAX], dy[ROWS * DIM_MAX], weight[DIM_MAX], bias[DIM_MAX];
};

static void fill(float *values, size_t count, uint64_t key, double middle)
{
    for (size_t i = 0; i < count; i++)
        values[i] = (float)(middle + 2.0 * random_unit(random_at(key, i)) - 1.0);
}

static struct values make_values(size_t dim, bool is_layer)
{
    struct values values = {.dim = dim, .is_layer = is_layer};
    fill(values.x, ROWS * dim, 1, 0.5);
    fill(values.dy, ROWS * dim, 2, 0.2);
    fill(values.weight, dim, 3, 1.5);
    fill(values.bias, dim, 4, 0);
    return values;
}

/* y of one row of x. */
static void formula(const struct values *values, const double *x, double *y)
{
    size_t dim = values->dim;
    double mean = 0;
    double square = 0;
    for (size_t i = 0; values->is_layer && i < dim; i++)
        mean += x[i] / (double)dim;
    for (size_t i = 0; i < dim; i++)
        square += (x[i] - mean) * (x[i] - mean) / (double)dim;
    for (size_t i = 0; i < dim; i++)
        y[i] = (double)values->weight[i] * (x[i] - mean) / sqrt(square + EPS) +
               (values->is_layer ? (double)values->bias[i] : 0);
}

/* The sum of dy * y of a row whose element `at` is `step` more. */
static double loss_at(const struct values *values, size_t row, size_t at, double step)
{
    size_t dim = values->dim;
    double x[DIM_MAX] = {0};
    double y[DIM_MAX] = {0};
    double sum = 0;
    for (size_t i = 0; i < dim; i++)
        x[i] = (double)values->x[row * dim + i] + (i == at ? step : 0);
    formula(values, x, y);
    for (size_t i = 0; i < dim; i++)
        sum += (double)values->dy[row * dim + i] * y[i];
    return sum;
}

static void check_outputs(const struct values *values, const float *y)
{
    double x[DIM_MAX] = {0};
    double wanted[DIM_MAX] = {0};
    for (size_t row = 0; row < ROWS; row++) {
        for (size_t i = 0; i < values->dim; i++)
            x[i] = (double)values->x[row * values->dim + i];
        formula(values, x, wanted);
        for (size_t i = 0; i < values->dim; i++)
            cr_assert_float_eq((double)y[row * values->dim + i], wanted[i], 2e-5);
    }
}

/* Gradients of x were 1 before. */
static void check_gradients(const struct values *values, const float *d_x, const float *d_weight,
                            const float *d_bias)
{
    size_t dim = values->dim;
    double x[DIM_MAX] = {0};
    double y[DIM_MAX] = {0};
    double of_weight[DIM_MAX] = {0};
    double of_bias[DIM_MAX] = {0};
    for (size_t row = 0; row < ROWS; row++) {
        for (size_t i = 0; i < dim; i++)
            x[i] = (double)values->x[row * dim + i];
        formula(values, x, y);
        for (size_t i = 0; i < dim; i++) {
            double dy = (double)values->dy[row * dim + i];
            double slope = (loss_at(values, row, i, 1e-5) - loss_at(values, row, i, -1e-5)) / 2e-5;
            cr_assert_float_eq((double)d_x[row * dim + i], 1 + slope, 5e-5,
                               "%zu columns, row %zu, column %zu", dim, row, i);
            of_weight[i] += dy * (y[i] - (values->is_layer ? (double)values->bias[i] : 0)) /
                            (double)values->weight[i];
            of_bias[i] += dy;
        }
    }
    for (size_t i = 0; i < dim; i++) {
        cr_assert_float_eq((double)d_weight[i], of_weight[i], 5e-5);
        if (values->is_layer)
            cr_assert_float_eq((double)d_bias[i], of_bias[i], 5e-5);
    }
}

static void check(const struct compute *compute, size_t dim, bool is_layer)
{
    struct values values = make_values(dim, is_layer);
    float y[ROWS * DIM_MAX];
    float again[ROWS * DIM_MAX];
    float d_x[ROWS * DIM_MAX];
    float rstd[ROWS];
    float mean[ROWS];
    float d_weight[DIM_MAX];
    float d_bias[DIM_MAX];
    struct matrix x = matrix_make(values.x, MATRIX_F32, ROWS, dim);
    struct matrix kept_rstd = matrix_make(rstd, MATRIX_F32, 1, ROWS);
    struct matrix kept_mean = matrix_make(is_layer ? mean : NULL, MATRIX_F32, 1, ROWS);
    struct norm norm = {.eps = EPS,
                        .weight = matrix_make(values.weight, MATRIX_F32, 1, dim),
                        .bias = matrix_make(is_layer ? values.bias : NULL, MATRIX_F32, 1, dim)};
    norm_forward(compute, &norm, x, matrix_make(y, MATRIX_F32, ROWS, dim), kept_rstd, kept_mean);
    check_outputs(&values, y);
    norm_again(compute, &norm, x, kept_rstd, kept_mean, matrix_make(again, MATRIX_F32, ROWS, dim));
    check_outputs(&values, again);
    for (size_t i = 0; i < ROWS * dim; i++)
        d_x[i] = 1;
    norm_backward(
        compute, &norm, x, kept_rstd, kept_mean, matrix_make(values.dy, MATRIX_F32, ROWS, dim),
        matrix_make(d_x, MATRIX_F32, ROWS, dim), matrix_make(d_weight, MATRIX_F32, 1, dim),
        matrix_make(is_layer ? d_bias : NULL, MATRIX_F32, 1, dim));
    check_gradients(&values, d_x, d_weight, d_bias);
}

/* Columns by sixteens, and what is left of them; of weights by 128. */
Test(native_norm, outputs_and_gradients_are_those_of_the_formula)
{
    const size_t dims[] = {2, 16, 19, 128, DIM_MAX};
    struct compute compute = {0};
    struct err err = {0};
    cr_assert_eq(pool_new(2, &compute.pool, &err), STATUS_OK, "%s", err.text);
    for (size_t i = 0; i < ARRAY_COUNT(dims); i++) {
        check(&compute, dims[i], false);
        check(&compute, dims[i], true);
    }
    pool_free(compute.pool);
}
