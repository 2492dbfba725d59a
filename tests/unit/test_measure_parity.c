#include <criterion/criterion.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>

#include "measure/parity.h"
#include "paths.h"

static float *floats_of(const json_t *array)
{
    float *values = calloc(json_array_size(array), sizeof(*values));
    for (size_t i = 0; i < json_array_size(array); i++)
        values[i] = (float)json_number_value(json_array_get(array, i));
    return values;
}

static void expect_near(double got, double wanted, const char *what)
{
    cr_expect_leq(fabs(got - wanted), 1e-12 * fabs(wanted), "%s: %.17g, NumPy %.17g", what, got,
                  wanted);
}

Test(measure_parity, errors_agree_with_numpy)
{
    json_t *rows = json_load_file(TOKMARK_SOURCE_DIR "/tests/golden/parity_golden.json", 0, NULL);
    cr_assert_geq(json_array_size(rows), 20);
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        const json_t *array = json_object_get(row, "values");
        size_t count = json_array_size(array);
        size_t part = (size_t)json_integer_value(json_object_get(row, "part"));
        float *values = floats_of(array);
        float *reference = floats_of(json_object_get(row, "reference"));
        struct parity_sums sums = {0};
        for (size_t at = 0; at < count; at += part)
            parity_add(&sums, values + at, reference + at, count - at < part ? count - at : part);
        const char *change = json_string_value(json_object_get(row, "change"));
        cr_expect_eq(sums.elements_count, count);
        expect_near(parity_error(&sums, PARITY_GRADIENTS, 0.0),
                    json_number_value(json_object_get(row, "tensor")), change);
        expect_near(parity_error(&sums, PARITY_PARAMETERS, 0.0),
                    json_number_value(json_object_get(row, "euclidean")), change);
        expect_near(parity_error(&sums, PARITY_WEIGHTS, 0.0),
                    json_number_value(json_object_get(row, "element")), change);
        free(values);
        free(reference);
    }
    json_decref(rows);
}

static double error_of(enum parity_kind kind, float value, float reference, double scale_max)
{
    struct parity_sums sums = {0};
    const float values[] = {1.0f, value};
    const float references[] = {1.0f, reference};
    parity_add(&sums, values + 1, references + 1, 1);
    return parity_error(&sums, kind, scale_max);
}

Test(measure_parity, what_is_not_finite_never_passes)
{
    const float bad[] = {NAN, INFINITY, -INFINITY};
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++)
        for (int kind = 0; kind < PARITY_KINDS_COUNT; kind++) {
            cr_expect(isinf(error_of((enum parity_kind)kind, bad[i], 1.0f, 1.0)));
            cr_expect(isinf(error_of((enum parity_kind)kind, 1.0f, bad[i], 1.0)));
            cr_expect(isinf(error_of((enum parity_kind)kind, bad[i], bad[i], 1.0)));
        }
}

Test(measure_parity, a_reference_of_zeros_is_measured_by_the_other_tensors)
{
    cr_expect_eq(error_of(PARITY_GRADIENTS, 0.0f, 0.0f, 0.0), 0.0);
    cr_expect_float_eq(error_of(PARITY_GRADIENTS, 0.5f, 0.0f, 10.0), 0.05, 1e-15);
    cr_expect(isinf(error_of(PARITY_GRADIENTS, 0.5f, 0.0f, 0.0)));
    /* A weight is read, so it is measured by itself alone. */
    cr_expect(isinf(error_of(PARITY_WEIGHTS, 1e-30f, 0.0f, 10.0)));
    cr_expect_eq(error_of(PARITY_WEIGHTS, -0.0f, 0.0f, 10.0), 0.0);
}

Test(measure_parity, tolerances_are_those_of_the_documentation)
{
    cr_expect_float_eq(parity_tolerance(PARITY_LOGITS, CELL_PRECISION_FP32), 1e-4, 1e-18);
    cr_expect_float_eq(parity_tolerance(PARITY_LOSS, CELL_PRECISION_FP32), 1e-4, 1e-18);
    cr_expect_float_eq(parity_tolerance(PARITY_GRADIENTS, CELL_PRECISION_FP32), 1e-4, 1e-18);
    cr_expect_eq(parity_tolerance(PARITY_WEIGHTS, CELL_PRECISION_FP32), 0.0);
    cr_expect_eq(parity_tolerance(PARITY_WEIGHTS, CELL_PRECISION_BF16), 0.0);
    cr_expect_eq(parity_tolerance(PARITY_WEIGHTS, CELL_PRECISION_BF16_PURE), 1.0 / 256);
    cr_expect_eq(parity_tolerance(PARITY_LOGITS, CELL_PRECISION_BF16), 1.0 / 16);
    cr_expect_eq(parity_tolerance(PARITY_GRADIENTS, CELL_PRECISION_BF16), 0.25);
    cr_expect_eq(parity_tolerance(PARITY_GRADIENTS, CELL_PRECISION_FP16), 1.0 / 32);
    for (int kind = 0; kind < PARITY_KINDS_COUNT; kind++)
        cr_expect(isnan(parity_tolerance((enum parity_kind)kind, CELL_PRECISION_INT8)));
}
