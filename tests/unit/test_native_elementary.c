/* Vector forms of elementary functions against libm in double. */
#include <criterion/criterion.h>
#include <math.h>

#include "base/random.h"
#include "engines/native/elementary.h"

Test(native_elementary, exp_is_right_to_two_units_over_its_range)
{
    double worst = 0;
    for (float x = -86.9f; x < 87.9f; x += 0.00731f) {
        double wanted = exp((double)x);
        worst = fmax(worst, fabs((double)exp_f32(x) - wanted) / wanted);
    }
    cr_assert_lt(worst, 2.4e-7, "%g", worst);
    cr_assert_eq(exp_f32(0.0f), 1.0f);
    cr_assert(isnan(exp_f32(NAN)));
    cr_assert_lt(exp_f32(-INFINITY), 1.7e-38f); /* exp(-87) */
    cr_assert_gt(exp_f32(INFINITY), 1e38f);
}

Test(native_elementary, sigmoid_and_tanh_are_right_everywhere)
{
    for (float x = -100.0f; x <= 100.0f; x += 0.0137f) {
        cr_assert_float_eq(sigmoid_f32(x), 1.0 / (1.0 + exp(-(double)x)), 2.5e-7);
        cr_assert_float_eq(tanh_f32(x), tanh((double)x), 5e-7);
    }
}

Test(native_elementary, reductions_take_every_element_at_any_length)
{
    enum { LONGEST = 2100 };
    float a[LONGEST];
    float b[LONGEST];
    for (size_t i = 0; i < LONGEST; i++) {
        a[i] = (float)(random_unit(random_at(1, i)) - 0.5);
        b[i] = (float)(random_unit(random_at(2, i)) - 0.5);
    }
    for (size_t count = 1; count < LONGEST; count = count < 80 ? count + 1 : count + 97) {
        double dot = 0;
        double sum = 0;
        double squares = 0;
        float max = -1.0f;
        for (size_t i = 0; i < count; i++) {
            dot += (double)a[i] * (double)b[i];
            sum += (double)a[i];
            squares += (double)a[i] * (double)a[i];
            max = a[i] > max ? a[i] : max;
        }
        cr_assert_float_eq(dot_f32(a, b, count), dot, 1e-5);
        cr_assert_float_eq(sum_f32(a, count), sum, 1e-5);
        cr_assert_float_eq(squares_f32(a, count), squares, 1e-4);
        cr_assert_eq(max_f32(a, count), max);
        float row[LONGEST];
        for (size_t i = 0; i < count; i++)
            row[i] = a[i];
        double exps = 0;
        for (size_t i = 0; i < count; i++)
            exps += exp((double)a[i] - 0.25);
        double row_sum = exp_row_f32(row, count, 0.25f);
        cr_assert_float_eq(row_sum, exps, 1e-6 * exps, "%zu: %.9g is not %.9g", count, row_sum,
                           exps);
        cr_assert_float_eq(row[count - 1], exp((double)a[count - 1] - 0.25), 1e-6);
    }
}
