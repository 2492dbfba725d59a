#include <string.h>

#include "measure/drift.h"
#include "measure/quantile.h"
#include "measure_golden.h"

static void assert_outliers(const json_t *row, const double *values, size_t n)
{
    double *sorted = calloc(n, sizeof(*sorted));
    memcpy(sorted, values, n * sizeof(*sorted));
    quantile_sort(sorted, n);
    struct outliers found = outliers_of(sorted, n);
    golden_near(found.q1, golden_number(row, "q1"), 0, "q1");
    golden_near(found.q3, golden_number(row, "q3"), 0, "q3");
    golden_near(found.mean_within, golden_number(row, "mean_within"), 0, "mean within");
    cr_expect_eq((double)found.low_severe, golden_item(row, "outliers", 0));
    cr_expect_eq((double)found.low_mild, golden_item(row, "outliers", 1));
    cr_expect_eq((double)found.high_mild, golden_item(row, "outliers", 2));
    cr_expect_eq((double)found.high_severe, golden_item(row, "outliers", 3));
    free(sorted);
}

Test(measure_drift, figures_agree_with_scipy)
{
    json_t *root = NULL;
    const json_t *rows = golden_rows("drift", 12, &root);
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        size_t n = (size_t)golden_number(row, "count");
        double *values =
            golden_series((uint64_t)golden_number(row, "key"), n, golden_number(row, "phi"));
        struct drift drift;
        cr_assert_eq(drift_of(values, n, 1, &drift, NULL), STATUS_OK);
        cr_assert(drift.slope_percent.is_known && drift.half_change_percent.is_known);
        golden_near(drift.slope_percent.value, golden_number(row, "slope"), 0.1, "slope");
        golden_near(drift.half_change_percent.value, golden_number(row, "change"), 0.1, "change");
        cr_expect_eq(drift.half_change_95.is_known, golden_number(row, "low") != GOLDEN_UNKNOWN);
        if (drift.half_change_95.is_known) {
            golden_near(drift.half_change_95.low, golden_number(row, "low"), 0.1, "low");
            golden_near(drift.half_change_95.high, golden_number(row, "high"), 0.1, "high");
        }
        assert_outliers(row, values, n);
        free(values);
    }
    json_decref(root);
}

/* Level 1 then `second`, with 1 % of noise. */
static struct drift drift_of_step(double second, double limit)
{
    double values[200];
    for (size_t i = 0; i < 200; i++)
        values[i] = (i < 100 ? 1 : second) * (1 + 0.01 * random_unit(random_at(4, i)));
    struct drift drift;
    cr_assert_eq(drift_of(values, 200, limit, &drift, NULL), STATUS_OK);
    return drift;
}

Test(measure_drift, a_step_is_drift_beyond_the_limit_only)
{
    struct drift drift = drift_of_step(1.05, 1);
    cr_assert(drift.has_drifted);
    cr_assert_float_eq(drift.half_change_percent.value, 5, 0.5);
    struct reasons reasons = {0};
    drift_add_reason(&drift, &reasons);
    cr_assert_str_eq(reasons.items[0].code, "drift");
    cr_assert(strstr(reasons.items[0].text, "%") != NULL);

    cr_assert(drift_of_step(0.95, 1).has_drifted, "faster is drift, too");
    cr_assert_not(drift_of_step(1.05, 10).has_drifted);
    cr_assert_not(drift_of_step(1, 1).has_drifted);
    reasons = (struct reasons){0};
    drift = drift_of_step(1, 1);
    drift_add_reason(&drift, &reasons);
    cr_assert_eq(reasons.count, 0);
}

Test(measure_drift, one_sample_has_no_drift)
{
    const double one = 5;
    struct drift drift;
    cr_assert_eq(drift_of(&one, 1, 1, &drift, NULL), STATUS_OK);
    cr_assert_not(drift.slope_percent.is_known);
    cr_assert_not(drift.half_change_percent.is_known);
    cr_assert_not(drift.has_drifted);
    struct outliers found = outliers_of(&one, 1);
    cr_assert_eq(found.mean_within, 5);
    cr_assert_eq(found.high_mild + found.high_severe + found.low_mild + found.low_severe, 0);
}

Test(measure_drift, outliers_by_hand)
{
    /* Quartiles 2 and 4, fences at -1 and 7, -4 and 10. */
    const double sorted[] = {-5, 2, 2, 3, 3, 4, 4, 8, 11};
    struct outliers found = outliers_of(sorted, 9);
    cr_assert_eq(found.q1, 2);
    cr_assert_eq(found.q3, 4);
    cr_assert_eq(found.low_severe, 1);
    cr_assert_eq(found.low_mild, 0);
    cr_assert_eq(found.high_mild, 1);
    cr_assert_eq(found.high_severe, 1);
    cr_assert_float_eq(found.mean_within, 3, 1e-15);
}

/* --- false alarms and finds, seeded (more of it: bench/statistics_study compare) --- */

#define SERIES_COUNT  150
#define SERIES_LENGTH 200

/* A standard normal: the sum of twelve uniform numbers. */
static double gauss_at(uint64_t key, uint64_t i)
{
    double sum = -6;
    for (uint64_t k = 0; k < 12; k++)
        sum += random_unit(random_at(key, 12 * i + k));
    return sum;
}

/* % of series that drift beyond 1 %: level 1 plus `ramp` over the series, AR(1) noise. */
static double drifted_percent(double noise, double phi, double ramp)
{
    size_t drifted = 0;
    for (uint64_t s = 0; s < SERIES_COUNT; s++) {
        double values[SERIES_LENGTH];
        uint64_t key = random_key(77, s);
        double x = gauss_at(key, SERIES_LENGTH);
        for (size_t i = 0; i < SERIES_LENGTH; i++) {
            x = phi * x + sqrt(1 - phi * phi) * gauss_at(key, i);
            values[i] = 1 + noise * x + ramp * (double)i / SERIES_LENGTH;
        }
        struct drift drift;
        cr_assert_eq(drift_of(values, SERIES_LENGTH, 1, &drift, NULL), STATUS_OK);
        drifted += drift.has_drifted;
    }
    return 100 * (double)drifted / SERIES_COUNT;
}

Test(measure_drift, what_does_not_drift_seldom_says_so)
{
    cr_expect_leq(drifted_percent(0.01, 0, 0), 0.5);
    cr_expect_leq(drifted_percent(0.05, 0, 0), 2);
    cr_expect_leq(drifted_percent(0.05, 0.6, 0), 3);
    cr_expect_leq(drifted_percent(0.05, 0.9, 0), 5);
    cr_expect_leq(drifted_percent(0.01, 0, 0.01), 1, "half a percent is within the limit");
}

Test(measure_drift, a_ramp_of_five_percent_is_found)
{
    cr_expect_geq(drifted_percent(0.01, 0, 0.05), 99);
    cr_expect_geq(drifted_percent(0.01, 0.6, 0.05), 90);
    cr_expect_geq(drifted_percent(0.02, 0, 0.05), 90);
    cr_expect_geq(drifted_percent(0.01, 0, -0.05), 99);
}
