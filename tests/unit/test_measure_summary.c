#include <criterion/criterion.h>
#include <jansson.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "measure/special.h"
#include "measure/summary.h"
#include "paths.h"

static void assert_near(double got, double wanted, const char *what, size_t count)
{
    cr_assert_leq(fabs(got - wanted), 1e-10 * fabs(wanted), "%s at n %zu: %.17g, reference %.17g",
                  what, count, got, wanted);
}

/* A reference of -1: not known at this n. */
static void assert_figure(struct measure_value got, double wanted, const char *what, size_t count)
{
    cr_assert_eq(got.is_known, wanted >= 0, "%s at n %zu", what, count);
    if (got.is_known)
        assert_near(got.value, wanted, what, count);
}

static double number(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    cr_assert(json_is_number(value), "%s", key);
    return json_number_value(value);
}

static void assert_row(const json_t *row, const struct measure_summary *summary)
{
    size_t n = (size_t)number(row, "count");
    struct measure_interval interval = summary->median_95;
    cr_assert_eq(summary->samples_count, n);
    assert_near(summary->min_ns, number(row, "min"), "min", n);
    assert_near(summary->max_ns, number(row, "max"), "max", n);
    assert_near(summary->median_ns, number(row, "median"), "median", n);
    assert_figure(summary->stddev_ns, number(row, "stddev"), "stddev", n);
    assert_figure((struct measure_value){interval.is_known, interval.low}, number(row, "low"),
                  "low", n);
    assert_figure((struct measure_value){interval.is_known, interval.high}, number(row, "high"),
                  "high", n);
    assert_figure(summary->p90_ns, number(row, "p90"), "p90", n);
    assert_figure(summary->p95_ns, number(row, "p95"), "p95", n);
    assert_figure(summary->p99_ns, number(row, "p99"), "p99", n);
    assert_figure(summary->p999_ns, number(row, "p999"), "p999", n);
    assert_figure(summary->p90_upper_95_ns, number(row, "p90_upper"), "p90's bound", n);
    assert_figure(summary->p95_upper_95_ns, number(row, "p95_upper"), "p95's bound", n);
    assert_figure(summary->p99_upper_95_ns, number(row, "p99_upper"), "p99's bound", n);
    assert_figure(summary->p999_upper_95_ns, number(row, "p999_upper"), "p999's bound", n);
    interval = summary->mean_95;
    assert_near(summary->effective_count, number(row, "effective"), "effective n", n);
    assert_near(summary->samples_mean_ns, number(row, "mean"), "mean", n);
    assert_figure((struct measure_value){interval.is_known, interval.low}, number(row, "mean_low"),
                  "mean's low", n);
    assert_figure((struct measure_value){interval.is_known, interval.high},
                  number(row, "mean_high"), "mean's high", n);
    interval = summary->tokens_per_second_95;
    assert_near(summary->tokens_per_second, number(row, "rate"), "rate", n);
    assert_figure((struct measure_value){interval.is_known, interval.low}, number(row, "rate_low"),
                  "rate's low", n);
    assert_figure((struct measure_value){interval.is_known, interval.high},
                  number(row, "rate_high"), "rate's high", n);
}

Test(measure_summary, figures_agree_with_numpy)
{
    json_t *root = json_load_file(TOKMARK_SOURCE_DIR "/tests/golden/measure_golden.json", 0, NULL);
    const json_t *rows = json_object_get(root, "summary");
    cr_assert_geq(json_array_size(rows), 15);
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        uint64_t key = (uint64_t)number(row, "key");
        size_t n = (size_t)number(row, "count");
        double *values = calloc(n, sizeof(*values));
        double *copy = calloc(n, sizeof(*copy));
        for (size_t j = 0; j < n; j++) {
            double unit = random_unit(random_at(key, j));
            values[j] = 1e6 + 4e5 * (unit * unit) * (unit * unit);
        }
        uint64_t window_ns = (uint64_t)(number(row, "mean") * (double)n * 1.25);
        memcpy(copy, values, n * sizeof(*copy));
        struct err err = {0};
        struct measure_summary summary;
        cr_assert_eq(measure_summarize(values, n, n, window_ns, 7, &summary, &err), STATUS_OK);
        cr_assert_eq(memcmp(values, copy, n * sizeof(*copy)), 0, "samples are not changed");
        assert_row(row, &summary);
        free(values);
        free(copy);
    }
    json_decref(root);
}

Test(measure_summary, throughput_is_tokens_over_the_window)
{
    /* Six steps of 1, 1, 5, 1, 1 and 1 s in a window of 11 s (1 s between steps), 8 tokens each:
     * 48 / 11, while a mean of the steps' own rates would say 6.9. */
    const double samples[] = {1e9, 1e9, 5e9, 1e9, 1e9, 1e9};
    struct err err = {0};
    struct measure_summary summary;
    cr_assert_eq(measure_summarize(samples, 6, 6, 11000000000, 8, &summary, &err), STATUS_OK);
    cr_assert_float_eq(summary.tokens_per_second, 48.0 / 11, 1e-12);
    cr_assert_float_eq(summary.mean_ns, 11e9 / 6, 1e-3);
    cr_assert_float_eq(summary.tokens_per_second * summary.mean_ns / 1e9, 8, 1e-12);
    cr_assert_not(summary.tokens_per_second_95.is_known, "six steps make no ten batches");
}

/* A stall a dozen steps: the median's own rate is far outside of the mean rate's interval, the mean
 * rate never. */
Test(measure_summary, the_rate_lies_within_its_interval)
{
    double samples[240];
    struct err err = {0};
    struct measure_summary summary;
    for (size_t i = 0; i < ARRAY_COUNT(samples); i++)
        samples[i] = i % 12 == 5 ? 5e7 : 1e6 + 1e3 * random_unit(random_at(7, i));
    cr_assert_eq(measure_summarize(samples, ARRAY_COUNT(samples), ARRAY_COUNT(samples), 1300000000,
                                   512, &summary, &err),
                 STATUS_OK);
    const struct measure_interval *rate = &summary.tokens_per_second_95;
    cr_assert(rate->is_known);
    cr_assert_lt(rate->low, summary.tokens_per_second);
    cr_assert_gt(rate->high, summary.tokens_per_second);
    cr_assert_gt(512e9 / summary.median_ns, 2 * rate->high);
}

#define COVERAGE_RUNS    2000
#define COVERAGE_SAMPLES 300

/* Of autocorrelated, skewed steps (a log-normal AR(1) process), whose true mean rate is known. */
Test(measure_summary, the_rate_s_interval_holds_the_true_rate)
{
    const double phi = 0.5;
    const double sigma = 0.2;
    const double true_rate = 512e9 / (1e6 * exp(sigma * sigma / 2) * 1.02);
    double samples[COVERAGE_SAMPLES];
    size_t known = 0;
    size_t held = 0;
    for (uint64_t run = 0; run < COVERAGE_RUNS; run++) {
        double state = special_normal_quantile(random_unit(random_at(11, run)));
        double sum = 0;
        for (size_t i = 0; i < COVERAGE_SAMPLES; i++) {
            double unit = random_unit(random_at(1000 + run, i));
            state = phi * state + sqrt(1 - phi * phi) * special_normal_quantile(unit);
            samples[i] = 1e6 * exp(sigma * state);
            sum += samples[i];
        }
        struct err err = {0};
        struct measure_summary summary;
        cr_assert_eq(measure_summarize(samples, COVERAGE_SAMPLES, COVERAGE_SAMPLES,
                                       (uint64_t)(1.02 * sum), 512, &summary, &err),
                     STATUS_OK);
        const struct measure_interval *rate = &summary.tokens_per_second_95;
        known += rate->is_known;
        held += rate->is_known && rate->low <= true_rate && true_rate <= rate->high;
    }
    double percent = 100 * (double)held / (double)known;
    cr_expect_gt(known, COVERAGE_RUNS * 9 / 10);
    cr_expect(percent >= 93 && percent <= 97, "%g %%", percent);
}

Test(measure_summary, block_samples_count_steps_apart)
{
    /* Three blocks of 100 steps: n is 3, steps are 300. */
    const double samples[] = {1e6, 2e6, 3e6};
    struct err err = {0};
    struct measure_summary summary;
    cr_assert_eq(measure_summarize(samples, 3, 300, 600000000, 10, &summary, &err), STATUS_OK);
    cr_assert_eq(summary.samples_count, 3);
    cr_assert_eq(summary.steps_count, 300);
    cr_assert_float_eq(summary.tokens_per_second, 3000 / 0.6, 1e-9);
    cr_assert_not(summary.median_95.is_known);
    cr_assert_not(summary.tokens_per_second_95.is_known);
}

Test(measure_summary, tiny_spread_beside_a_large_mean_keeps_its_digits)
{
    const double samples[] = {1e15 + 1, 1e15 + 2, 1e15 + 3};
    struct err err = {0};
    struct measure_summary summary;
    cr_assert_eq(measure_summarize(samples, 3, 3, 1, 1, &summary, &err), STATUS_OK);
    cr_assert_float_eq(summary.stddev_ns.value, 1, 1e-9);
}
