#include <criterion/criterion.h>
#include <math.h>

#include "measure/steps.h"

/* Golden: ruptures 1.1.10, Pelt(model="l2", min_size=segment_min, jump=1).predict(penalty). */
static const double series_0[] = {0.636, -0.545, -0.541, 0.311, -0.274, 0.316,
                                  4.319, 2.877,  1.986,  5.396, 3.147,  4.683};
static const double series_1[] = {-1.416, 0.884,  -0.595, -0.464, 0.436, -0.366, -0.693, 0.276,
                                  -0.736, 0.966,  1.641,  3.836,  1.225, 4.18,   2.516,  2.372,
                                  3.014,  -1.077, -2.459, -0.502, 0.565, -0.764, -0.382, -3.086};
static const double series_2[] = {-1.729, -0.313, -1.293, -0.833, 0.218,  -0.787, -0.935, -0.715,
                                  3.734,  2.374,  1.056,  2.341,  1.336,  1.96,   3.006,  2.754,
                                  1.777,  2.2,    1.516,  2.98,   2.978,  1.466,  3.643,  4.43,
                                  3.133,  5.862,  4.503,  3.277,  3.531,  4.69,   4.771,  0.448,
                                  1.265,  1.544,  1.112,  2.02,   -0.141, 0.029,  1.997,  -0.071};
static const double series_3[] = {0.386, 0.992,  1.05,   0.514,  0.983,  -1.312, 0.072,  -0.151,
                                  1.156, 1.817,  2.058,  -1.129, -1.416, -0.358, -0.339, -0.835,
                                  0.083, -0.749, -1.049, 0.917,  -0.307, 2.217,  -0.247, 0.613,
                                  0.721, -0.043, -0.937, -0.013, -0.379, -0.648};

static const struct {
    const double *values;
    size_t count, segment_min;
    double penalty;
    size_t steps[8];
    size_t steps_count;
} golden[] = {
    {series_0, 12, 1, 3.0, {6}, 1},
    {series_1, 24, 2, 4.0, {10, 17}, 2},
    {series_2, 40, 3, 6.0, {8, 22, 31}, 3},
    {series_3, 30, 3, 8.0, {0}, 0},
};

Test(measure_steps, pelt_finds_what_ruptures_finds)
{
    for (size_t i = 0; i < sizeof(golden) / sizeof(golden[0]); i++) {
        size_t steps[64];
        size_t count = 99;
        struct err err = {0};
        cr_assert_eq(steps_pelt(golden[i].values, golden[i].count, golden[i].segment_min,
                                golden[i].penalty, steps, &count, &err),
                     STATUS_OK, "%s", err.text);
        cr_assert_eq(count, golden[i].steps_count, "series %zu: %zu steps", i, count);
        for (size_t j = 0; j < count; j++)
            cr_expect_eq(steps[j], golden[i].steps[j], "series %zu, step %zu: %zu", i, j, steps[j]);
    }
}

/* What PELT leaves out of its search must not matter: all segmentations of short series, by
 * brute force. */
static double brute_force(const double *values, size_t count, size_t segment_min, double penalty)
{
    double best = INFINITY;
    for (unsigned mask = 0; mask < 1U << (count - 1); mask++) {
        double cost = -penalty;
        size_t from = 0;
        bool is_allowed = true;
        for (size_t to = 1; to <= count; to++) {
            if (to < count && (mask & (1U << (to - 1))) == 0)
                continue;
            double sum = 0, squares = 0;
            for (size_t i = from; i < to; i++)
                sum += values[i];
            for (size_t i = from; i < to; i++)
                squares += pow(values[i] - sum / (double)(to - from), 2);
            is_allowed = is_allowed && to - from >= segment_min;
            cost += squares + penalty;
            from = to;
        }
        if (is_allowed && cost < best)
            best = cost;
    }
    return best;
}

static double cost_of_steps(const double *values, size_t count, const size_t *steps,
                            size_t steps_count, double penalty)
{
    double cost = 0;
    for (size_t k = 0; k <= steps_count; k++) {
        size_t from = k > 0 ? steps[k - 1] : 0;
        size_t to = k < steps_count ? steps[k] : count;
        double sum = 0;
        for (size_t i = from; i < to; i++)
            sum += values[i];
        for (size_t i = from; i < to; i++)
            cost += pow(values[i] - sum / (double)(to - from), 2);
    }
    return cost + penalty * (double)steps_count;
}

Test(measure_steps, pelt_is_as_good_as_all_segmentations)
{
    for (size_t start = 0; start + 12 <= 40; start += 4)
        for (size_t segment_min = 1; segment_min <= 3; segment_min++) {
            size_t steps[16];
            size_t count = 0;
            cr_assert_eq(steps_pelt(series_2 + start, 12, segment_min, 1.5, steps, &count, NULL),
                         STATUS_OK);
            cr_expect_float_eq(cost_of_steps(series_2 + start, 12, steps, count, 1.5),
                               brute_force(series_2 + start, 12, segment_min, 1.5), 1e-9);
        }
}

Test(measure_steps, a_single_odd_run_is_no_step_and_a_lasting_one_is)
{
    double logs[20];
    size_t steps[32];
    size_t count = 9;
    for (size_t i = 0; i < 20; i++)
        logs[i] = 0.002 * series_3[i];
    logs[4] = 0.5; /* 65 % slower, once */
    cr_assert_eq(steps_find(logs, 20, 0.02, steps, &count, NULL), STATUS_OK);
    cr_expect_eq(count, 0);
    for (size_t i = 12; i < 20; i++)
        logs[i] += 0.05;
    cr_assert_eq(steps_find(logs, 20, 0.02, steps, &count, NULL), STATUS_OK);
    cr_assert_eq(count, 1);
    cr_expect_eq(steps[0], 12);
}

Test(measure_steps, a_change_under_the_least_effect_is_no_step)
{
    double logs[20];
    size_t steps[32];
    size_t count = 9;
    for (size_t i = 0; i < 20; i++)
        logs[i] = 0.0005 * series_3[i] + (i < 10 ? 0 : 0.01);
    cr_assert_eq(steps_find(logs, 20, 0.02, steps, &count, NULL), STATUS_OK);
    cr_expect_eq(count, 0);
    cr_assert_eq(steps_find(logs, 20, 0.005, steps, &count, NULL), STATUS_OK);
    cr_assert_eq(count, 1);
    cr_expect_eq(steps[0], 10);
}

Test(measure_steps, equal_values_few_values_and_too_many)
{
    double logs[STEPS_VALUES_MIN] = {0};
    size_t steps[STEPS_VALUES_MIN];
    size_t count = 9;
    cr_assert_eq(steps_find(logs, STEPS_VALUES_MIN, 0, steps, &count, NULL), STATUS_OK);
    cr_expect_eq(count, 0);
    for (size_t i = 4; i < STEPS_VALUES_MIN; i++)
        logs[i] = 1;
    cr_assert_eq(steps_find(logs, STEPS_VALUES_MIN - 1, 0, steps, &count, NULL), STATUS_OK);
    cr_expect_eq(count, 0);
    cr_assert_eq(steps_find(logs, STEPS_VALUES_MIN, 0, steps, &count, NULL), STATUS_OK);
    cr_expect_eq(count, 1);
    cr_expect_eq(steps_pelt(logs, STEPS_VALUES_MAX + 1, 1, 1, steps, &count, NULL), STATUS_LIMIT);
    cr_assert_eq(steps_pelt(logs, 0, 1, 1, steps, &count, NULL), STATUS_OK);
    cr_expect_eq(count, 0);
}
