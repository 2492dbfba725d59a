/* tests/unit/measure_golden.h - reference values by SciPy and NumPy, for the tests of measure/. */
#ifndef TESTS_MEASURE_GOLDEN_H
#define TESTS_MEASURE_GOLDEN_H

#include <criterion/criterion.h>
#include <jansson.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/random.h"
#include "measure/interval.h"
#include "paths.h"

/* What the golden file writes for a value that is not known. */
#define GOLDEN_UNKNOWN (-1e9)

/* The array `name` of a file, which has at least `least` rows; the document is released by
 * *ret_root. */
static inline json_t *golden_rows_of(const char *file, const char *name, size_t least,
                                     json_t **ret_root)
{
    char path[512];
    (void)snprintf(path, sizeof(path), "%s/tests/golden/%s", TOKMARK_SOURCE_DIR, file);
    *ret_root = json_load_file(path, 0, NULL);
    json_t *array = json_object_get(*ret_root, name);
    cr_assert_geq(json_array_size(array), least, "no golden values: %s", name);
    return array;
}

static inline json_t *golden_rows(const char *name, size_t least, json_t **ret_root)
{
    return golden_rows_of("measure_golden.json", name, least, ret_root);
}

static inline double golden_number(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    cr_assert(json_is_number(value), "%s", key);
    return json_number_value(value);
}

static inline double golden_item(const json_t *object, const char *key, size_t index)
{
    const json_t *value = json_array_get(json_object_get(object, key), index);
    cr_assert(json_is_number(value), "%s[%zu]", key, index);
    return json_number_value(value);
}

/* Within 1e-10 of the reference's size; `scale` for values that may be near 0. */
static inline void golden_near(double got, double wanted, double scale, const char *what)
{
    cr_expect_leq(fabs(got - wanted), 1e-10 * fmax(fabs(wanted), scale),
                  "%s: %.17g, reference %.17g", what, got, wanted);
}

/* x_i = phi x_{i-1} + unit(key, i), as the script makes it. */
static inline double *golden_series(uint64_t key, size_t count, double phi)
{
    double *values = calloc(count, sizeof(*values));
    cr_assert_not_null(values);
    double x = 0;
    for (size_t i = 0; i < count; i++) {
        x = phi * x + random_unit(random_at(key, i));
        values[i] = x;
    }
    return values;
}

/* The medians that the script made of a row: e^(noise * unit). */
static inline size_t golden_readings(const json_t *row, size_t most,
                                     struct measure_reading *ret_readings)
{
    size_t count = (size_t)golden_number(row, "count");
    double *units = golden_series((uint64_t)golden_number(row, "key"), count, 0);
    cr_assert_leq(count, most);
    for (size_t i = 0; i < count; i++)
        ret_readings[i] =
            (struct measure_reading){.median = exp(golden_number(row, "noise") * units[i])};
    free(units);
    return count;
}

#endif
