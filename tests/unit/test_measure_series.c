#include "measure/series.h"
#include "measure_golden.h"

Test(measure_series, gaussian_indicator_time_agrees_with_scipy)
{
    json_t *root = NULL;
    const json_t *rows = golden_rows("gaussian_time", 24, &root);
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        double got =
            series_gaussian_indicator_time(golden_number(row, "rho"), golden_number(row, "q"));
        golden_near(got, golden_number(row, "time"), 1, "time");
    }
    json_decref(root);
}

Test(measure_series, lag1_and_times_agree_with_numpy)
{
    json_t *root = NULL;
    const json_t *rows = golden_rows("series", 13, &root);
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        size_t n = (size_t)golden_number(row, "count");
        double *values =
            golden_series((uint64_t)golden_number(row, "key"), n, golden_number(row, "phi"));
        golden_near(series_lag1(values, n), golden_number(row, "lag1"), 1, "lag 1");
        struct series_time time;
        cr_assert_eq(series_quantile_time(values, n, 0.5, golden_item(row, "p50", 0), &time, NULL),
                     STATUS_OK);
        golden_near(time.effective_count, golden_item(row, "p50", 1), 1, "effective n of p50");
        cr_assert_eq(series_quantile_time(values, n, 0.9, golden_item(row, "p90", 0), &time, NULL),
                     STATUS_OK);
        golden_near(time.effective_count, golden_item(row, "p90", 1), 1, "effective n of p90");
        if (n >= 10) {
            cr_assert_eq(series_mean_time(values, n, &time, NULL), STATUS_OK);
            golden_near(time.effective_count, golden_number(row, "mean_effective"), 1,
                        "effective n of the mean");
        }
        free(values);
    }
    json_decref(root);
}

Test(measure_series, lag1_by_hand)
{
    /* Mean 2: -1 0 1; products -1*0 + 0*1 = 0. Then +1 -1 +1 -1: -3 / 4. */
    const double line[] = {1, 2, 3};
    const double swing[] = {1, -1, 1, -1};
    const double flat[] = {7, 7, 7};
    cr_assert_eq(series_lag1(line, 3), 0);
    cr_assert_eq(series_lag1(swing, 4), -0.75);
    cr_assert_eq(series_lag1(flat, 3), 0);
    cr_assert_eq(series_lag1(flat, 1), 0);
}

Test(measure_series, no_spread_and_swings_are_worth_every_sample)
{
    double values[600];
    struct series_time time;
    for (size_t i = 0; i < 600; i++)
        values[i] = 5;
    cr_assert_eq(series_quantile_time(values, 600, 0.5, 5, &time, NULL), STATUS_OK);
    cr_assert_eq(time.effective_count, 600);
    for (size_t i = 0; i < 600; i++)
        values[i] = i % 2 == 0 ? 1 : 2;
    cr_assert_eq(series_quantile_time(values, 600, 0.5, 1.5, &time, NULL), STATUS_OK);
    cr_assert_eq(time.effective_count, 600);
    cr_assert_eq(time.time, 1);
    cr_assert(isinf(time.freedom));
}

Test(measure_series, an_outlier_does_not_hide_what_ranks_show)
{
    double *values = golden_series(77, 400, 0.9);
    struct series_time before;
    struct series_time after;
    cr_assert_eq(series_mean_time(values, 400, &before, NULL), STATUS_OK);
    values[200] = 1e6;
    cr_assert_eq(series_mean_time(values, 400, &after, NULL), STATUS_OK);
    cr_assert_gt(before.time, 5);
    cr_assert_gt(after.time, 0.5 * before.time);
    cr_assert_lt(series_lag1(values, 400), 0.1);
    free(values);
}
