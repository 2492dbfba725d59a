#include <criterion/criterion.h>
#include <jansson.h>
#include <math.h>
#include <string.h>

#include "base/status.h"
#include "measure/special.h"
#include "paths.h"

static double call(const char *name, double x, double a, double b)
{
    if (strcmp(name, "normal_cdf") == 0)
        return special_normal_cdf(x);
    if (strcmp(name, "normal_quantile") == 0)
        return special_normal_quantile(x);
    if (strcmp(name, "log_gamma") == 0)
        return special_log_gamma(x);
    if (strcmp(name, "beta_cdf") == 0)
        return special_beta_cdf(x, a, b);
    if (strcmp(name, "beta_quantile") == 0)
        return special_beta_quantile(x, a, b);
    if (strcmp(name, "student_cdf") == 0)
        return special_student_cdf(x, a);
    if (strcmp(name, "student_quantile") == 0)
        return special_student_quantile(x, a);
    cr_assert_fail("unknown function %s", name);
    return NAN;
}

Test(measure_special, functions_agree_with_scipy)
{
    json_t *root = json_load_file(TOKMARK_SOURCE_DIR "/tests/golden/measure_golden.json", 0, NULL);
    const json_t *rows = json_object_get(root, "special");
    cr_assert_geq(json_array_size(rows), 800);
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        const char *name = json_string_value(json_object_get(row, "function"));
        double x = json_number_value(json_object_get(row, "x"));
        double a = json_number_value(json_object_get(row, "a"));
        double b = json_number_value(json_object_get(row, "b"));
        double wanted = json_number_value(json_object_get(row, "value"));
        double got = call(name, x, a, b);
        cr_expect_leq(fabs(got - wanted), 1e-10 * fabs(wanted),
                      "%s(%g; %g, %g) = %.17g, SciPy %.17g", name, x, a, b, got, wanted);
    }
    json_decref(root);
}

Test(measure_special, by_hand)
{
    cr_assert_eq(special_normal_cdf(0), 0.5);
    cr_assert_eq(special_normal_quantile(0.5), 0);
    cr_assert_eq(special_student_quantile(0.5, 3), 0);
    /* One degree of freedom is Cauchy: quantile tan(pi (p - 1/2)). Two have a closed form too. */
    cr_assert_float_eq(special_student_quantile(0.75, 1), 1, 1e-14);
    cr_assert_float_eq(special_student_cdf(1, 2), 0.5 + 1 / (2 * sqrt(3)), 1e-15);
    /* I_x(1, b) = 1 - (1 - x)^b; I_x(a, 1) = x^a. */
    cr_assert_float_eq(special_beta_cdf(0.3, 1, 4), 1 - pow(0.7, 4), 1e-15);
    cr_assert_float_eq(special_beta_quantile(0.81, 2, 1), 0.9, 1e-14);
    cr_assert_eq(special_beta_cdf(0, 2, 3), 0);
    cr_assert_eq(special_beta_cdf(1, 2, 3), 1);
    cr_assert_eq(special_beta_quantile(0, 2, 3), 0);
    cr_assert_eq(special_beta_quantile(1, 2, 3), 1);
    cr_assert_float_eq(special_log_gamma(5), log(24), 1e-14);
    cr_assert_float_eq(special_binomial_mass(2, 4, 0.5), 6.0 / 16, 1e-15);
}

Test(measure_special, quantiles_turn_the_cdf_over)
{
    for (double p = 0.001; p < 1; p += 0.0173) {
        for (size_t i = 0; i < 5; i++) {
            const double shapes[] = {0.7, 1, 4.2, 33, 1500};
            double a = shapes[i];
            double b = shapes[(i * 2 + 1) % 5];
            cr_assert_float_eq(special_beta_cdf(special_beta_quantile(p, a, b), a, b), p, 1e-12);
            cr_assert_float_eq(special_student_cdf(special_student_quantile(p, a), a), p, 1e-12);
        }
        cr_assert_float_eq(special_normal_cdf(special_normal_quantile(p)), p, 1e-14);
    }
}
