#include <criterion/criterion.h>
#include <jansson.h>
#include <math.h>
#include <stdint.h>

#include "base/status.h"
#include "measure/quantile.h"
#include "paths.h"

Test(measure_quantile, samples_min_is_the_published_table)
{
    const struct {
        double q;
        size_t at_95, at_99;
    } table[] = {{0.5, 5, 7}, {0.9, 29, 44}, {0.95, 59, 90}, {0.99, 299, 459}, {0.999, 2995, 4603}};
    for (size_t i = 0; i < ARRAY_COUNT(table); i++) {
        cr_assert_eq(quantile_samples_min(table[i].q, 0.95), table[i].at_95, "%g", table[i].q);
        cr_assert_eq(quantile_samples_min(table[i].q, 0.99), table[i].at_99, "%g", table[i].q);
    }
    cr_assert_eq(quantile_samples_min(0.5, 0.75), 2, "a power that is met exactly");
}

Test(measure_quantile, samples_min_is_the_least_by_its_definition)
{
    for (double q = 0.01; q < 0.9999; q += 0.0007) {
        size_t n = quantile_samples_min(q, 0.95);
        cr_assert_leq(pow(q, (double)n), 1 - 0.95, "%g: %zu", q, n);
        if (n > 1)
            cr_assert_gt(pow(q, (double)n - 1), 1 - 0.95, "%g: %zu", q, n);
    }
}

/* The array `name` of tests/golden/measure_golden.json; the document is released by *ret_root. */
static json_t *golden(const char *name, json_t **ret_root)
{
    *ret_root = json_load_file(TOKMARK_SOURCE_DIR "/tests/golden/measure_golden.json", 0, NULL);
    json_t *array = json_object_get(*ret_root, name);
    cr_assert_gt(json_array_size(array), 100, "no golden values");
    return array;
}

static double number(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    cr_assert(json_is_number(value), "%s", key);
    return json_number_value(value);
}

Test(measure_quantile, binomial_cdf_agrees_with_scipy)
{
    json_t *root = NULL;
    const json_t *rows = golden("cdf", &root);
    size_t i = 0;
    json_t *row = NULL;
    json_array_foreach(rows, i, row)
    {
        size_t n = (size_t)number(row, "count");
        size_t k = (size_t)number(row, "successes");
        double q = number(row, "q");
        double wanted = number(row, "cdf");
        double cdf = quantile_binomial_cdf(k, n, q);
        double error = fabs(cdf - wanted);
        cr_assert_leq(error, 1e-12, "n %zu q %g k %zu: %.17g, SciPy %.17g", n, q, k, cdf, wanted);
        /* Small tails keep their leading digits, too. */
        cr_assert_leq(error, 1e-10 * wanted + 1e-300, "n %zu q %g k %zu", n, q, k);
    }
    json_decref(root);
}

Test(measure_quantile, binomial_cdf_by_hand)
{
    /* Four coins: 1, 5, 11, 15, 16 of 16. */
    const double sixteenths[] = {1, 5, 11, 15, 16};
    for (size_t k = 0; k <= 4; k++)
        cr_assert_float_eq(quantile_binomial_cdf(k, 4, 0.5), sixteenths[k] / 16, 1e-15);
    cr_assert_eq(quantile_binomial_cdf(9, 4, 0.5), 1);
}

Test(measure_quantile, nearest_rank_by_hand)
{
    double values[100];
    for (size_t i = 0; i < 100; i++)
        values[i] = (double)(i + 1);
    cr_assert_eq(quantile_nearest_rank(values, 100, 0.5), 50);
    cr_assert_eq(quantile_nearest_rank(values, 100, 0.501), 51);
    cr_assert_eq(quantile_nearest_rank(values, 100, 0.07), 7, "0.07 * 100 is over 7 in binary");
    cr_assert_eq(quantile_nearest_rank(values, 100, 0.29), 29);
    cr_assert_eq(quantile_nearest_rank(values, 100, 0.99), 99);
    cr_assert_eq(quantile_nearest_rank(values, 100, 1), 100);
    cr_assert_eq(quantile_nearest_rank(values, 100, 1e-9), 1);
    cr_assert_eq(quantile_nearest_rank(values, 1, 0.5), 1);
    cr_assert_eq(quantile_nearest_rank(values, 29, 0.9), 27);
}

Test(measure_quantile, median_and_sort_by_hand)
{
    double values[] = {5, 1, 4, 1, 3, 9};
    quantile_sort(values, 6);
    const double sorted[] = {1, 1, 3, 4, 5, 9};
    for (size_t i = 0; i < 6; i++)
        cr_assert_eq(values[i], sorted[i]);
    cr_assert_eq(quantile_median(values, 6), 3.5);
    cr_assert_eq(quantile_median(values, 5), 3);
    cr_assert_eq(quantile_median(values, 1), 1);
    quantile_sort(values, 0);
}
