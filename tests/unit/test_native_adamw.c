#include <criterion/criterion.h>
#include <math.h>

#include "base/random.h"
#include "engines/native/adamw.h"

#define COUNT 37

static struct pool *pool_of(unsigned threads_count)
{
    struct pool *pool = NULL;
    struct err err = {0};
    cr_assert_eq(pool_new(threads_count, &pool, &err), STATUS_OK);
    return pool;
}

/* torch.optim.AdamW's own steps, in its order, in double. */
Test(native_adamw, fifty_steps_equal_the_published_update_in_double)
{
    struct pool *pool = pool_of(2);
    struct compute compute = {.pool = pool};
    struct adamw adamw = adamw_default();
    float p[COUNT], g[COUNT], m[COUNT] = {0}, v[COUNT] = {0};
    double pd[COUNT], md[COUNT] = {0}, vd[COUNT] = {0};
    for (size_t i = 0; i < COUNT; i++) {
        p[i] = (float)(random_unit(random_at(1, i)) - 0.5);
        pd[i] = (double)p[i];
    }
    for (uint64_t step = 1; step <= 50; step++) {
        for (size_t i = 0; i < COUNT; i++)
            g[i] = (float)((random_unit(random_at(step + 1, i)) - 0.3) * pow(10, -(double)(i % 6)));
        adamw_step(&compute, &adamw, step, matrix_make(p, MATRIX_F32, 1, COUNT),
                   matrix_make(g, MATRIX_F32, 1, COUNT), matrix_make(m, MATRIX_F32, 1, COUNT),
                   matrix_make(v, MATRIX_F32, 1, COUNT));
        for (size_t i = 0; i < COUNT; i++) {
            double gd = (double)g[i];
            pd[i] *= 1.0 - 3e-4 * 0.01;
            md[i] += (gd - md[i]) * (1.0 - 0.9);
            vd[i] = vd[i] * 0.999 + 0.001 * gd * gd;
            double denominator = sqrt(vd[i]) / sqrt(1.0 - pow(0.999, (double)step)) + 1e-8;
            pd[i] -= 3e-4 / (1.0 - pow(0.9, (double)step)) * md[i] / denominator;
        }
    }
    for (size_t i = 0; i < COUNT; i++)
        cr_assert_float_eq(p[i], pd[i], 2e-6, "%zu: %.9g is not %.9g", i, (double)p[i], pd[i]);
    pool_free(pool);
}

Test(native_adamw, the_norm_is_of_all_gradients_and_repeats_its_bits)
{
    static float g[100003];
    double sum = 0;
    for (size_t i = 0; i < sizeof(g) / sizeof(g[0]); i++) {
        g[i] = (float)(random_unit(random_at(9, i)) - 0.5);
        sum += (double)g[i] * (double)g[i];
    }
    struct pool *pool = pool_of(3);
    struct compute compute = {.pool = pool};
    struct matrix gradients = matrix_make(g, MATRIX_F32, 1, sizeof(g) / sizeof(g[0]));
    double norm = adamw_gradient_norm(&compute, gradients);
    cr_assert_float_eq(norm, sqrt(sum), 1e-6 * sqrt(sum));
    cr_assert_eq(norm, adamw_gradient_norm(&compute, gradients));
    pool_free(pool);
}
