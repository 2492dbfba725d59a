#include <string.h>

#include "measure/interval.h"
#include "measure/quantile.h"
#include "measure/series.h"
#include "measure_golden.h"

Test(measure_interval, ranks_agree_with_scipy)
{
    json_t *root = NULL;
    const json_t *rows = golden_rows("real_ranks", 99, &root);
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        double n = golden_number(row, "count");
        double q = golden_number(row, "q");
        double freedom = golden_number(row, "freedom");
        double wanted_upper = golden_number(row, "upper");
        freedom = freedom < 0 ? INFINITY : freedom;
        double low = 0;
        double high = 0;
        double upper = 0;
        bool is_known = interval_ranks(n, q, 0.95, freedom, &low, &high);
        cr_expect_eq(is_known, golden_number(row, "low") > 0, "n %g q %g", n, q);
        golden_near(low, golden_number(row, "low"), 1, "low rank");
        golden_near(high, golden_number(row, "high"), 1, "high rank");
        is_known = interval_upper_rank(n, q, 0.95, freedom, &upper);
        cr_expect_eq(is_known, wanted_upper > 0, "n %g q %g", n, q);
        golden_near(upper, wanted_upper, 1, "upper rank");
    }
    json_decref(root);
}

static struct interval_mean mean_of(const double *samples, size_t count)
{
    struct interval_mean mean;
    double rho = 0;
    if (count > 1)
        cr_assert_eq(series_score_lag1(samples, count, &rho, NULL), STATUS_OK);
    cr_assert_eq(interval_of_mean(samples, count, rho, 0.95, &mean, NULL), STATUS_OK);
    return mean;
}

static void assert_quantile(const json_t *row, const char *key, double q, const double *values,
                            const double *sorted, size_t n)
{
    struct interval_quantile found;
    cr_assert_eq(interval_of_quantile(values, sorted, n, q, 0.95, &found, NULL), STATUS_OK);
    golden_near(found.value, golden_item(row, key, 0), 0, key);
    golden_near(found.effective_count, golden_item(row, key, 1), 0, "effective n");
    cr_expect_eq(found.two_sided.is_known, golden_item(row, key, 2) != GOLDEN_UNKNOWN, "%s n %zu",
                 key, n);
    cr_expect_eq(found.upper.is_known, golden_item(row, key, 4) != GOLDEN_UNKNOWN, "%s n %zu", key,
                 n);
    if (found.two_sided.is_known) {
        golden_near(found.two_sided.low, golden_item(row, key, 2), 1, "low");
        golden_near(found.two_sided.high, golden_item(row, key, 3), 1, "high");
    }
    if (found.upper.is_known)
        golden_near(found.upper.value, golden_item(row, key, 4), 1, "upper");
}

Test(measure_interval, quantiles_and_means_agree_with_scipy)
{
    json_t *root = NULL;
    const json_t *rows = golden_rows("series", 13, &root);
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        size_t n = (size_t)golden_number(row, "count");
        double *values =
            golden_series((uint64_t)golden_number(row, "key"), n, golden_number(row, "phi"));
        double *sorted = calloc(n, sizeof(*sorted));
        memcpy(sorted, values, n * sizeof(*sorted));
        quantile_sort(sorted, n);
        assert_quantile(row, "p50", 0.5, values, sorted, n);
        assert_quantile(row, "p90", 0.9, values, sorted, n);
        assert_quantile(row, "p99", 0.99, values, sorted, n);

        struct interval_mean mean = mean_of(values, n);
        golden_near(mean.value, golden_number(row, "mean"), 0, "mean");
        golden_near(mean.effective_count, golden_number(row, "mean_effective"), 0, "effective n");
        cr_expect_eq((double)mean.batches_count, golden_item(row, "batches", 0), "n %zu", n);
        golden_near(mean.batches_lag1, golden_item(row, "batches", 3), 1, "lag 1 of batches");
        cr_expect_eq(mean.two_sided.is_known, golden_item(row, "batches", 1) != GOLDEN_UNKNOWN);
        if (mean.two_sided.is_known) {
            golden_near(mean.two_sided.low, golden_item(row, "batches", 1), 0, "low");
            golden_near(mean.two_sided.high, golden_item(row, "batches", 2), 0, "high");
        }
        free(sorted);
        free(values);
    }
    json_decref(root);
}

Test(measure_interval, needs_are_the_published_ones_for_independent_samples)
{
    double low, high;
    cr_assert_not(interval_ranks(5, 0.5, 0.95, INFINITY, &low, &high));
    cr_assert(interval_ranks(6, 0.5, 0.95, INFINITY, &low, &high));
    const struct {
        double q;
        double n;
    } needs[] = {{0.9, 29}, {0.95, 59}, {0.99, 299}, {0.999, 2995}};
    for (size_t i = 0; i < ARRAY_COUNT(needs); i++) {
        cr_assert_not(interval_upper_rank(needs[i].n - 1, needs[i].q, 0.95, INFINITY, &high));
        cr_assert(interval_upper_rank(needs[i].n, needs[i].q, 0.95, INFINITY, &high));
        cr_assert_leq(high, needs[i].n);
        cr_assert_gt(high, needs[i].n - 1, "the largest sample bounds it, hardly less");
    }
}

Test(measure_interval, the_count_that_is_needed_is_where_ranks_begin)
{
    static const double quantiles[] = {0.5, 0.1, 0.9};
    static const double freedoms[] = {INFINITY, 20, 3};
    for (size_t i = 0; i < ARRAY_COUNT(quantiles) * ARRAY_COUNT(freedoms); i++) {
        double q = quantiles[i % ARRAY_COUNT(quantiles)];
        double freedom = freedoms[i / ARRAY_COUNT(quantiles)];
        double needed = interval_count_needed(q, 0.95, freedom);
        double low, high;
        cr_expect_not(interval_ranks(needed * (1 - 1e-9), q, 0.95, freedom, &low, &high));
        cr_expect(interval_ranks(needed * (1 + 1e-9), q, 0.95, freedom, &low, &high));
    }
    cr_expect_float_eq(interval_count_needed(0.5, 0.95, INFINITY), log(0.025) / log(0.5), 1e-12);
}

Test(measure_interval, ranks_of_the_median_lie_within_the_exact_whole_ones)
{
    json_t *root = NULL;
    const json_t *rows = golden_rows("median_ranks", 40, &root);
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        double n = golden_number(row, "count");
        double whole_low = golden_number(row, "low");
        double whole_high = golden_number(row, "high");
        double low, high;
        cr_assert(interval_ranks(n, 0.5, golden_number(row, "confidence"), INFINITY, &low, &high));
        cr_expect(low >= whole_low && low < whole_low + 1, "n %g: %g", n, low);
        cr_expect(high <= whole_high && high > whole_high - 1, "n %g: %g", n, high);
        cr_expect_float_eq(low + high, n + 1, 1e-9 * n);
    }
    json_decref(root);
}

Test(measure_interval, one_sample_has_a_value_and_nothing_else)
{
    const double one = 3;
    struct interval_quantile found;
    cr_assert_eq(interval_of_quantile(&one, &one, 1, 0.5, 0.95, &found, NULL), STATUS_OK);
    struct interval_mean mean = mean_of(&one, 1);
    cr_assert_eq(found.value, 3);
    cr_assert_eq(mean.value, 3);
    cr_assert_eq(found.effective_count, 1);
    cr_assert_not(found.two_sided.is_known);
    cr_assert_not(found.upper.is_known);
    cr_assert_not(mean.two_sided.is_known);
}

Test(measure_interval, a_step_in_the_series_leaves_no_interval)
{
    double values[200];
    double sorted[200];
    for (size_t i = 0; i < 200; i++)
        values[i] = (i < 100 ? 1 : 2) + 0.01 * random_unit(random_at(9, i));
    memcpy(sorted, values, sizeof(values));
    quantile_sort(sorted, 200);
    struct interval_quantile found;
    cr_assert_eq(interval_of_quantile(values, sorted, 200, 0.5, 0.95, &found, NULL), STATUS_OK);
    struct interval_mean mean = mean_of(values, 200);
    cr_assert_lt(found.effective_count, 6);
    cr_assert_not(found.two_sided.is_known);
    cr_assert_not(mean.two_sided.is_known);
}

static struct measure_interval ends(const json_t *row, const char *figure)
{
    double low = golden_item(row, figure, 1);
    return (struct measure_interval){low > 0, low, golden_item(row, figure, 2)};
}

Test(measure_interval, ratios_agree_with_scipy)
{
    json_t *root = NULL;
    const json_t *rows = golden_rows("ratio", 4, &root);
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        struct measure_ratio ratio =
            interval_of_ratio(golden_item(row, "first", 0), ends(row, "first"),
                              golden_item(row, "second", 0), ends(row, "second"));
        cr_expect(ratio.percent.is_known);
        golden_near(ratio.percent.value, golden_number(row, "percent"), 1, "percent");
        cr_expect_eq(ratio.percent_95.is_known, golden_number(row, "low") != GOLDEN_UNKNOWN);
        if (!ratio.percent_95.is_known)
            continue;
        golden_near(ratio.percent_95.low, golden_number(row, "low"), 1, "low");
        golden_near(ratio.percent_95.high, golden_number(row, "high"), 1, "high");
    }
    json_decref(root);
    struct measure_interval none = {0};
    cr_expect_not(interval_of_ratio(0, none, 1, none).percent.is_known);
    cr_expect_not(interval_of_ratio(1, none, -1, none).percent.is_known);
}
