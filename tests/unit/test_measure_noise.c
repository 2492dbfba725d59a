#include "measure/noise.h"
#include "measure_golden.h"

Test(measure_noise, floor_agrees_with_scipy)
{
    json_t *root = NULL;
    const json_t *rows = golden_rows("noise", 4, &root);
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        size_t n = (size_t)golden_number(row, "count");
        double *values =
            golden_series((uint64_t)golden_number(row, "key"), n, golden_number(row, "phi"));
        for (size_t j = 0; j < n; j++)
            values[j] -= 0.5;
        golden_near(noise_floor(values, n, 0.95), golden_number(row, "floor"), 0, "floor");
        free(values);
    }
    json_decref(root);
}

Test(measure_noise, floor_of_no_noise_is_none_and_signs_do_not_matter)
{
    const double none[] = {0, 0, 0};
    const double some[] = {0.01, 0.01, 0.01};
    const double mixed[] = {-0.01, 0.01, -0.01};
    cr_assert_eq(noise_floor(none, 3, 0.95), 0);
    cr_assert_eq(noise_floor(some, 3, 0.95), noise_floor(mixed, 3, 0.95));
    cr_assert_gt(noise_floor(some, 3, 0.95), 0.01);
    cr_assert_gt(noise_floor(some, 1, 0.95), noise_floor(some, 3, 0.95));
}
