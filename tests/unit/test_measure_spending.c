#include "measure/spending.h"
#include "measure_golden.h"

static size_t numbers_of(const json_t *row, const char *key, double *ret_values)
{
    const json_t *array = json_object_get(row, key);
    size_t count = json_array_size(array);
    cr_assert(count >= 1 && count <= SPENDING_LOOKS_MAX);
    for (size_t i = 0; i < count; i++)
        ret_values[i] = json_number_value(json_array_get(array, i));
    return count;
}

/* The reference was checked against SciPy's integral of the multivariate normal distribution. */
Test(measure_spending, boundaries_agree_with_scipy)
{
    json_t *root = NULL;
    const json_t *rows = golden_rows("spending", 7, &root);
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        double information[SPENDING_LOOKS_MAX];
        double spent[SPENDING_LOOKS_MAX];
        double wanted[SPENDING_LOOKS_MAX];
        double got[SPENDING_LOOKS_MAX];
        size_t count = numbers_of(row, "information", information);
        cr_assert_eq(numbers_of(row, "spent", spent), count);
        cr_assert_eq(numbers_of(row, "z", wanted), count);
        spending_boundaries(information, spent, count, got);
        for (size_t k = 0; k < count; k++)
            cr_expect_float_eq(got[k], wanted[k], 1e-5, "row %zu, look %zu: %.7f, reference %.7f",
                               i, k, got[k], wanted[k]);
    }
    json_decref(root);
}

/* Five even looks, two-sided 5 %: Lan and DeMets's two spending functions, as ld98, R's ldbounds
 * and gsDesign print them. */
Test(measure_spending, boundaries_agree_with_published_ones)
{
    static const double obrien[] = {4.8769, 3.3569, 2.6803, 2.2898, 2.0310};
    static const double pocock[] = {2.4380, 2.4268, 2.4102, 2.3966, 2.3860};
    double information[5];
    double spent[2][5];
    double got[5];
    for (size_t i = 0; i < 5; i++) {
        double t = (double)(i + 1) / 5;
        information[i] = t;
        spent[0][i] = 2 * erfc(2.24140272760494 / sqrt(2 * t)); /* 4 (1 - Phi(z_0.9875 / sqrt t)) */
        spent[1][i] = 0.05 * log(1 + (M_E - 1) * t);
    }
    for (size_t rule = 0; rule < 2; rule++) {
        spending_boundaries(information, spent[rule], 5, got);
        for (size_t i = 0; i < 5; i++)
            cr_expect_float_eq(got[i], (rule == 0 ? obrien : pocock)[i], 2e-4,
                               "%zu, look %zu: %.5f", rule, i, got[i]);
    }
}

Test(measure_spending, error_goes_with_the_square_of_the_information)
{
    cr_expect_float_eq(spending_power(0.1, 0.05), 0.0005, 1e-15);
    cr_expect_float_eq(spending_power(0.5, 0.04), 0.01, 1e-15);
    cr_expect_eq(spending_power(1, 0.05), 0.05);
}
