#include "measure/steady.h"
#include "measure_golden.h"

Test(measure_steady, looks_agree_with_scipy)
{
    json_t *root = NULL;
    const json_t *rows = golden_rows("steady", 7, &root);
    size_t settled = 0;
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        size_t n = (size_t)golden_number(row, "count");
        double steps = golden_number(row, "steps");
        double *values =
            golden_series((uint64_t)golden_number(row, "key"), n, golden_number(row, "phi"));
        for (size_t j = 0; steps > 0 && j < n; j++)
            values[j] = rint(values[j] * steps) / steps;
        struct steady_look look = steady_look_at(values, n);
        golden_near(look.before, golden_number(row, "before"), 0, "before");
        golden_near(look.last, golden_number(row, "last"), 0, "last");
        golden_near(look.accepted, golden_number(row, "accepted"), 0, "accepted");
        golden_near(look.trend_z, golden_number(row, "trend_z"), 0, "trend");
        bool is_settled = fabs(golden_number(row, "last") - golden_number(row, "before")) <=
                              golden_number(row, "accepted") &&
                          fabs(golden_number(row, "trend_z")) <= 1;
        cr_expect_eq(look.is_settled, is_settled);
        settled += is_settled;
        free(values);
    }
    cr_assert(settled > 0 && settled < json_array_size(rows), "%zu: both outcomes", settled);
    json_decref(root);
}

Test(measure_steady, trend_by_hand)
{
    /* 1 2 3: score 3, variance 3 * 2 * 11 / 18. Ties 1 1 2: score 2, less 2 * 1 * 9 / 18. */
    const double up[] = {1, 2, 3};
    const double down[] = {3, 2, 1};
    const double tied[] = {1, 1, 2};
    const double flat[] = {4, 4, 4};
    cr_assert_float_eq(steady_trend_z(up, 3), 2 / sqrt(66.0 / 18), 1e-15);
    cr_assert_float_eq(steady_trend_z(down, 3), -2 / sqrt(66.0 / 18), 1e-15);
    cr_assert_float_eq(steady_trend_z(tied, 3), 1 / sqrt(48.0 / 18), 1e-15);
    cr_assert_eq(steady_trend_z(flat, 3), 0);
    cr_assert_eq(steady_trend_z(up, 0), 0);
}

Test(measure_steady, too_few_say_nothing)
{
    double flat[STEADY_SAMPLES_MIN];
    for (size_t i = 0; i < STEADY_SAMPLES_MIN; i++)
        flat[i] = 1e6;
    cr_assert_not(steady_look_at(flat, STEADY_SAMPLES_MIN - 1).is_settled);
    cr_assert_eq(steady_look_at(flat, STEADY_SAMPLES_MIN - 1).window, 0);
    cr_assert(steady_look_at(flat, STEADY_SAMPLES_MIN).is_settled);
    cr_assert_eq(STEADY_SAMPLES_MIN, 20, "as docs/metrics.md says");
}

Test(measure_steady, a_small_trend_is_seen_where_medians_agree)
{
    /* 0.5 % over the window, noise a fifth of that: the medians are near, the trend is not chance.
     */
    double values[200];
    for (size_t i = 0; i < 200; i++)
        values[i] = 1 + 0.024 * (double)i / 200 + 0.001 * random_unit(random_at(3, i));
    struct steady_look look = steady_look_at(values, 200);
    cr_assert_lt(fabs(look.last - look.before), look.accepted);
    cr_assert_gt(look.trend_z, 5);
    cr_assert_not(look.is_settled);
}

/* docs/metrics.md says one standard deviation. */
Test(measure_steady, a_trend_of_two_deviations_is_one)
{
    size_t between_count = 0;
    for (uint64_t key = 0; key < 200; key++) {
        double values[80];
        for (uint64_t i = 0; i < 80; i++)
            values[i] = 1 + 0.02 * random_unit(random_at(key, i));
        struct steady_look look = steady_look_at(values, 80);
        bool is_trend = fabs(look.trend_z) > 1.0;
        bool is_near = fabs(look.last - look.before) <= look.accepted;
        between_count += is_near && is_trend && fabs(look.trend_z) < 2.0;
        if (is_near && fabs(look.last - look.before) + 2 * look.error > 0.005 * look.before)
            cr_expect_eq(look.is_settled, !is_trend, "%g", look.trend_z);
    }
    cr_assert_gt(between_count, 10, "chance gives a trend of one to two deviations often");
}

Test(measure_steady, a_step_is_seen_where_order_agrees)
{
    /* The window's first half falls from 1.1 to 0.9, its second stays at 1.05: as many pairs rise
     * as fall, but the medians are 5 % apart. */
    double values[160];
    for (size_t i = 0; i < 160; i++)
        values[i] = i >= 120 ? 1.05 : 1.1 - 0.2 * ((double)i - 79.5) / 40;
    struct steady_look look = steady_look_at(values, 160);
    cr_assert_lt(fabs(look.trend_z), STEADY_TREND_Z);
    cr_assert_not(look.is_settled);
}

Test(measure_steady, a_negligible_trend_is_no_obstacle)
{
    double values[200];
    for (size_t i = 0; i < 200; i++)
        values[i] = 1e6 + (double)i;
    struct steady_look look = steady_look_at(values, 200);
    cr_assert_gt(look.trend_z, 10);
    cr_assert(look.is_settled, "0.01 %% over the window");
}
