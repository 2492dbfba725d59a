#include "measure/compare.h"
#include "measure_golden.h"

static const struct compare_limits coarse = {.threshold = 0.1};
static const struct compare_limits fine = {.threshold = 0.01};

/* What SciPy's interval says at a threshold of 0.1: beyond it, within it, or neither. */
static enum compare_outcome outcome_of(const json_t *row)
{
    double low = golden_number(row, "low");
    double high = golden_number(row, "high");
    if (low == GOLDEN_UNKNOWN)
        return COMPARE_OUTCOME_UNDECIDED;
    if (high < -0.1)
        return COMPARE_OUTCOME_FASTER;
    if (low > 0.1)
        return COMPARE_OUTCOME_SLOWER;
    return low >= -0.1 && high <= 0.1 ? COMPARE_OUTCOME_SAME : COMPARE_OUTCOME_UNDECIDED;
}

Test(measure_compare, rounds_agree_with_scipy)
{
    json_t *root = NULL;
    const json_t *rows = golden_rows("compare", 6, &root);
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        size_t n = (size_t)golden_number(row, "count");
        double *values =
            golden_series((uint64_t)golden_number(row, "key"), n, golden_number(row, "phi"));
        for (size_t j = 0; j < n; j++)
            values[j] -= golden_number(row, "shift");
        struct compare_result result;
        cr_assert_eq(compare_rounds(values, n, &coarse, 0.95, &result, NULL), STATUS_OK);
        cr_expect_eq(result.rounds_count, n);
        golden_near(result.log_ratio, golden_number(row, "median"), 0.1, "median");
        golden_near(result.effective_count, golden_number(row, "effective"), 0, "effective n");
        golden_near(result.sign_p, golden_number(row, "sign_p"), 0, "sign test");
        cr_expect_eq(result.log_ratio_ci.is_known, golden_number(row, "low") != GOLDEN_UNKNOWN);
        if (result.log_ratio_ci.is_known) {
            golden_near(result.log_ratio_ci.low, golden_number(row, "low"), 0.1, "low");
            golden_near(result.log_ratio_ci.high, golden_number(row, "high"), 0.1, "high");
        }
        cr_expect_eq(result.outcome, outcome_of(row));
        free(values);
    }
    json_decref(root);
}

/* Five starts and more by themselves; fewer with a prior, as the script has it. */
Test(measure_compare, starts_agree_with_scipy)
{
    json_t *root = NULL;
    const struct compare_prior prior = {.sd = 0.4, .freedom = 4};
    const json_t *rows = golden_rows("starts", 7, &root);
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        struct compare_start starts[64];
        size_t n = (size_t)golden_number(row, "count");
        double *values = golden_series((uint64_t)golden_number(row, "key"), n, 0);
        cr_assert_leq(n, ARRAY_COUNT(starts));
        for (size_t j = 0; j < n; j++)
            starts[j] = (struct compare_start){values[j] - golden_number(row, "shift"),
                                               {.is_known = true, .value = 0.3}};
        struct compare_result result = {.rounds_count = 77, .sign_p = 0.25};
        compare_starts(starts, n, &prior, &coarse, golden_number(row, "confidence"), &result);
        golden_near(result.log_ratio, golden_number(row, "mean"), 0.1, "mean");
        golden_near(compare_spread(starts, n), golden_number(row, "spread"), 0, "spread");
        cr_expect(result.log_ratio_ci.is_known);
        golden_near(result.log_ratio_ci.low, golden_number(row, "low"), 0.1, "low");
        golden_near(result.log_ratio_ci.high, golden_number(row, "high"), 0.1, "high");
        cr_expect_eq(result.outcome, outcome_of(row));
        cr_expect_eq(result.rounds_count, 77, "the rounds' own figures stay");
        free(values);
    }
    json_decref(root);
}

static enum compare_outcome decide_starts(const double *log_ratios, size_t count, bool has_error)
{
    struct compare_start starts[8];
    const struct compare_prior prior = compare_prior_built_in();
    struct compare_result result = {0};
    for (size_t i = 0; i < count; i++)
        starts[i] = (struct compare_start){log_ratios[i], {.is_known = has_error, .value = 0.001}};
    compare_starts(starts, count, &prior, &fine, 0.95, &result);
    return result.outcome;
}

Test(measure_compare, starts_that_differ_widely_decide_nothing)
{
    /* Each start certain of its own, and no two of the same: a mean of 2 % says nothing. */
    static const double apart[] = {0.05, -0.01, 0.04, 0.00, 0.02};
    static const double alike[] = {0.020, 0.021, 0.019, 0.020, 0.020};
    cr_expect_eq(decide_starts(apart, 5, true), COMPARE_OUTCOME_UNDECIDED);
    cr_expect_eq(decide_starts(alike, 5, true), COMPARE_OUTCOME_SLOWER);
    cr_expect_eq(decide_starts(alike, 4, true), COMPARE_OUTCOME_UNDECIDED,
                 "four may be alike by chance");
    cr_expect_eq(decide_starts(alike, 5, false), COMPARE_OUTCOME_SLOWER);
}

Test(measure_compare, few_starts_whose_rounds_say_nothing_decide_nothing)
{
    static const double large[] = {0.5, 0.51, 0.49, 0.5};
    for (size_t count = 1; count <= 4; count++) {
        cr_expect_eq(decide_starts(large, count, true), COMPARE_OUTCOME_SLOWER);
        cr_expect_eq(decide_starts(large, count, false), COMPARE_OUTCOME_UNDECIDED);
    }
}

Test(measure_compare, what_a_starts_rounds_leave_open)
{
    struct compare_start start;
    struct compare_result seen;
    double rounds[40];
    for (size_t i = 0; i < 40; i++)
        rounds[i] = 0.02 * (random_unit(random_at(12, i)) - 0.5);
    /* The interval's half over 1.96. */
    cr_assert_eq(compare_rounds(rounds, 40, &fine, 0.95, &seen, NULL), STATUS_OK);
    cr_assert_eq(compare_start_of(rounds, 40, &start, NULL), STATUS_OK);
    cr_expect_eq(start.log_ratio, seen.log_ratio);
    cr_expect_float_eq(start.error.value,
                       (seen.log_ratio_ci.high - seen.log_ratio_ci.low) / 2 / 1.959963984540054,
                       1e-15);
    /* Too few for one: sqrt(pi / 2) s / sqrt(4). */
    static const double few[] = {4, 1, 5, 2};
    cr_assert_eq(compare_start_of(few, 4, &start, NULL), STATUS_OK);
    cr_expect_eq(start.log_ratio, 3);
    cr_expect_float_eq(start.error.value, sqrt(M_PI / 2) * sqrt(10.0 / 3) / 2, 1e-12);
    cr_assert_eq(compare_start_of(few, 2, &start, NULL), STATUS_OK);
    cr_expect_not(start.error.is_known);
}

static enum compare_outcome decide(double low, double high)
{
    return compare_decide((struct measure_interval){true, low, high}, &fine);
}

Test(measure_compare, decisions_by_hand)
{
    cr_assert_eq(decide(-0.005, 0.005), COMPARE_OUTCOME_SAME);
    cr_assert_eq(decide(-0.01, 0.01), COMPARE_OUTCOME_SAME);
    cr_assert_eq(decide(0.002, 0.009), COMPARE_OUTCOME_SAME, "certain, and too small to matter");
    cr_assert_eq(decide(0.002, 0.02), COMPARE_OUTCOME_UNDECIDED);
    cr_assert_eq(decide(-0.02, 0.02), COMPARE_OUTCOME_UNDECIDED);
    cr_assert_eq(decide(0.011, 0.02), COMPARE_OUTCOME_SLOWER);
    cr_assert_eq(decide(-0.02, -0.011), COMPARE_OUTCOME_FASTER);
    cr_assert_eq(decide(0.01, 0.02), COMPARE_OUTCOME_UNDECIDED, "beyond, not at, the threshold");
    cr_assert_eq(compare_decide((struct measure_interval){0}, &fine), COMPARE_OUTCOME_UNDECIDED);
    cr_assert_str_eq(compare_outcome_name(COMPARE_OUTCOME_FASTER), "faster");
    cr_assert_str_eq(compare_outcome_name(COMPARE_OUTCOME_SLOWER), "slower");
    cr_assert_str_eq(compare_outcome_name(COMPARE_OUTCOME_SAME), "same");
    cr_assert_str_eq(compare_outcome_name(COMPARE_OUTCOME_UNDECIDED), "undecided");
}

/* Under a floor of `floor`, threshold 0.05. */
static enum compare_outcome decide_under(double floor, double low, double high)
{
    const struct compare_limits limits = {.threshold = 0.05, .floor = floor};
    return compare_decide((struct measure_interval){true, low, high}, &limits);
}

Test(measure_compare, a_floor_above_the_threshold_disarms_nothing)
{
    /* 20 against 24 ms, gated at 5 %, under a floor of 27.8 %: +8.45 to +22.9 %. */
    double floor = log(1.278);
    cr_expect_eq(decide_under(floor, log(1.0845), log(1.229)), COMPARE_OUTCOME_UNDECIDED,
                 "never SAME");
    cr_expect_eq(decide_under(floor, log(1.2), log(1.2)), COMPARE_OUTCOME_UNDECIDED);
    cr_expect_eq(decide_under(floor, -0.001, 0.001), COMPARE_OUTCOME_UNDECIDED,
                 "nor what looks alike");
    cr_expect_eq(decide_under(floor, log(1.3), log(1.4)), COMPARE_OUTCOME_SLOWER,
                 "beyond the floor, too");
    cr_expect_eq(decide_under(floor, log(0.6), log(0.7)), COMPARE_OUTCOME_FASTER);
    /* A floor that the threshold covers changes nothing. */
    for (int i = 0; i < 2; i++) {
        double covered = i == 0 ? 0 : 0.05;
        cr_expect_eq(decide_under(covered, -0.04, 0.05), COMPARE_OUTCOME_SAME);
        cr_expect_eq(decide_under(covered, 0.051, 0.2), COMPARE_OUTCOME_SLOWER);
        cr_expect_eq(decide_under(covered, 0.04, 0.2), COMPARE_OUTCOME_UNDECIDED);
    }
}

Test(measure_compare, even_drift_cancels_in_a_round)
{
    /* A B B A while everything slows down by the same factor a block; B takes 3 % more. */
    const double slower = 1.02;
    double a_first = 1;
    double b_first = 1.03 * slower;
    double b_second = 1.03 * slower * slower;
    double a_second = slower * slower * slower;
    cr_assert_float_eq(compare_round(a_first, a_second, b_first, b_second), log(1.03), 1e-15);
}

Test(measure_compare, sign_test_by_hand)
{
    const double values[] = {-1, 2, 3, 0, 4, 5};
    /* One of five below: 2 (1 + 5) / 32. Zeros say nothing. */
    cr_assert_float_eq(compare_sign_test(values, 6), 12.0 / 32, 1e-15);
    const double even[] = {-1, 1};
    cr_assert_eq(compare_sign_test(even, 2), 1);
    const double zero[] = {0};
    cr_assert_eq(compare_sign_test(zero, 1), 1);
}

Test(measure_compare, a_true_difference_is_found_and_none_is_not)
{
    double rounds[60];
    struct compare_result result;
    for (int percent = -3; percent <= 3; percent += 3) {
        for (size_t i = 0; i < 60; i++)
            rounds[i] = percent / 100.0 + 0.02 * (random_unit(random_at(11, i)) - 0.5);
        cr_assert_eq(compare_rounds(rounds, 60, &fine, 0.95, &result, NULL), STATUS_OK);
        cr_assert(result.is_precise);
        cr_assert_eq(result.outcome, percent < 0   ? COMPARE_OUTCOME_FASTER
                                     : percent > 0 ? COMPARE_OUTCOME_SLOWER
                                                   : COMPARE_OUTCOME_SAME);
        cr_assert_eq(result.sign_p < 0.001, percent != 0);
    }
    cr_assert_eq(compare_rounds(rounds, 3, &fine, 0.95, &result, NULL), STATUS_OK);
    cr_assert_eq(result.outcome, COMPARE_OUTCOME_UNDECIDED, "three rounds decide nothing");
}

Test(measure_compare, looks_are_fixed_beforehand)
{
    const size_t wanted[] = {10, 13, 17, 22, 28, 35, 44};
    size_t look = 0;
    for (size_t i = 0; i < ARRAY_COUNT(wanted); i++) {
        look = compare_look_after(look);
        cr_assert_eq(look, wanted[i]);
    }
    cr_assert_eq(compare_look_after(11), 13);
}
