#include "measure/series.h"
#include "measure_golden.h"

static double score_lag1(const double *values, size_t count)
{
    double rho = 0;
    cr_assert_eq(series_score_lag1(values, count, &rho, NULL), STATUS_OK);
    return rho;
}

static struct series_time mean_time(const double *values, size_t count)
{
    struct series_time time;
    double rho = score_lag1(values, count);
    cr_assert_eq(series_mean_time(values, count, rho, &time, NULL), STATUS_OK);
    return time;
}

static struct series_time quantile_time(const double *values, size_t count, double q,
                                        double threshold)
{
    struct series_time time;
    double rho = score_lag1(values, count);
    cr_assert_eq(series_quantile_time(values, count, q, threshold, rho, &time, NULL), STATUS_OK);
    return time;
}

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
        struct series_time time = quantile_time(values, n, 0.5, golden_item(row, "p50", 0));
        golden_near(time.effective_count, golden_item(row, "p50", 1), 1, "effective n of p50");
        time = quantile_time(values, n, 0.9, golden_item(row, "p90", 0));
        golden_near(time.effective_count, golden_item(row, "p90", 1), 1, "effective n of p90");
        if (n >= 10) {
            time = mean_time(values, n);
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
    for (size_t i = 0; i < 600; i++)
        values[i] = 5;
    struct series_time time = quantile_time(values, 600, 0.5, 5);
    cr_assert_eq(time.effective_count, 600);
    for (size_t i = 0; i < 600; i++)
        values[i] = i % 2 == 0 ? 1 : 2;
    time = quantile_time(values, 600, 0.5, 1.5);
    cr_assert_eq(time.effective_count, 600);
    cr_assert_eq(time.time, 1);
    cr_assert(isinf(time.freedom));
}

Test(measure_series, an_outlier_does_not_hide_what_ranks_show)
{
    double *values = golden_series(77, 400, 0.9);
    struct series_time before = mean_time(values, 400);
    values[200] = 1e6;
    struct series_time after = mean_time(values, 400);
    cr_assert_gt(before.time, 5);
    cr_assert_gt(after.time, 0.5 * before.time);
    cr_assert_lt(series_lag1(values, 400), 0.1);
    free(values);
}

/* Geyer's sequence as it is defined, sum by sum. */
static double time_by_hand(const double *values, size_t count, size_t *ret_lags)
{
    double mean = series_mean(values, count);
    double squares = 0;
    double total = 0;
    size_t lag = 0;
    for (; lag + 1 < count; lag += 2) {
        double pair = 0;
        for (size_t k = lag; k < lag + 2; k++)
            for (size_t i = k; i < count; i++)
                pair += (values[i] - mean) * (values[i - k] - mean);
        if (lag == 0)
            for (size_t i = 0; i < count; i++)
                squares += (values[i] - mean) * (values[i] - mean);
        if (pair <= 0 && lag > 0)
            break;
        total += pair;
    }
    *ret_lags = lag;
    return 2 * total / squares - 1;
}

Test(measure_series, long_series_have_the_time_of_its_definition)
{
    /* Slow under as much fast noise, so that this and not AR(1) is the longer time: the sequence
     * ends among the lags of a stretch, and behind them. */
    const struct {
        double phi;
        size_t lags_min, lags_max;
    } cases[] = {{0.99, 64, 4096}, {0.9998, 4096, 40000}};
    const size_t n = 33001;
    double *noise = golden_series(5, n, 0);
    for (size_t c = 0; c < ARRAY_COUNT(cases); c++) {
        double *values = golden_series(6, n, cases[c].phi);
        for (size_t i = 0; i < n; i++)
            values[i] += 10 * noise[i] + 1000;
        size_t lags = 0;
        double wanted = time_by_hand(values, n, &lags);
        cr_expect(lags > cases[c].lags_min && lags < cases[c].lags_max, "%zu", lags);
        struct series_time time = mean_time(values, n);
        golden_near(time.time, wanted, 0, "time");
        free(values);
    }
    free(noise);
}

Test(measure_series, scores_know_the_correlation_of_a_long_series)
{
    double *values = golden_series(7, 5000, 0.8);
    cr_assert_float_eq(score_lag1(values, 5000), 0.8, 0.05);
    free(values);
}
