#include "base/random.h"
#include "measure/change.h"
#include "measure/special.h"
#include "measure_golden.h"

#define FILE_NAME "change_golden.json"
#define MOST      64

TestSuite(measure_change);

static const struct change_noise nothing = {0.03, 1e6, true};

/* Mean and squares of the logarithms of the array `key`. */
static struct change_side side_of(const json_t *row, const char *key, double within)
{
    const json_t *values = json_object_get(row, key);
    struct change_side side = {.runs_count = json_array_size(values), .within = within * within};
    for (size_t i = 0; i < side.runs_count; i++)
        side.mean += log(golden_item(row, key, i)) / (double)side.runs_count;
    for (size_t i = 0; i < side.runs_count; i++)
        side.squares += pow(log(golden_item(row, key, i)) - side.mean, 2);
    return side;
}

static struct change_side one_run(double mean, double error)
{
    return (struct change_side){.runs_count = 1, .mean = mean, .within = error * error};
}

static struct change_rule rule_of(double percent, bool is_significant)
{
    return (struct change_rule){.least = log1p(percent / 100), .is_significant = is_significant};
}

static void check_against(const struct change *change, const json_t *row)
{
    struct measure_interval interval = change_interval(change, 0.95);
    double p = golden_number(row, "p");
    /* The means of logarithms near 3 are known to some 1e-15; t multiplies that. */
    cr_expect_float_eq(change_p(change), p, 1e-9);
    cr_expect_float_eq(interval.low, golden_number(row, "low"), 1e-11);
    cr_expect_float_eq(interval.high, golden_number(row, "high"), 1e-11);
    for (double limit = 0.0001; limit < 0.06; limit *= 1.5)
        cr_expect_eq(change_is_significant(change, limit), p <= limit);
}

Test(measure_change, several_runs_are_students_t_test_by_scipy)
{
    json_t *root = NULL;
    const json_t *rows = golden_rows_of(FILE_NAME, "runs_only", 8, &root);
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        struct change_side base = side_of(row, "base", NAN);
        struct change_side new_side = side_of(row, "new", NAN);
        struct change change = change_of(&base, &new_side, &nothing);
        cr_assert(change.is_known);
        check_against(&change, row);
        const struct change_rule rule = rule_of(2, false);
        cr_expect_eq(change_decide(&change, &rule) == CHANGE_SAME,
                     golden_number(row, "same_p") < 0.05, "TOST, row %zu", i);
    }
    json_decref(root);
}

Test(measure_change, one_run_a_side_is_satterthwaites_t)
{
    json_t *root = NULL;
    const json_t *rows = golden_rows_of(FILE_NAME, "one_run", 5, &root);
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        struct change_side base = one_run(1, golden_number(row, "within_base"));
        struct change_side new_side =
            one_run(1 + golden_number(row, "shift"), golden_number(row, "within_new"));
        const struct change_noise noise = {golden_number(row, "between"),
                                           golden_number(row, "freedom"), false};
        struct change change = change_of(&base, &new_side, &noise);
        check_against(&change, row);
    }
    json_decref(root);
}

Test(measure_change, known_noise_and_several_runs_are_the_moderated_t)
{
    json_t *root = NULL;
    const json_t *rows = golden_rows_of(FILE_NAME, "moderated", 4, &root);
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        double within = golden_number(row, "within");
        struct change_side base = side_of(row, "base", within);
        struct change_side new_side = side_of(row, "new", within);
        const struct change_noise noise = {golden_number(row, "between"),
                                           golden_number(row, "freedom"), false};
        struct change change = change_of(&base, &new_side, &noise);
        golden_near(change.error, golden_number(row, "error"), 0, "error");
        cr_expect_float_eq(change_p(&change), golden_number(row, "p"), 1e-9, "row %zu", i);
    }
    json_decref(root);
}

Test(measure_change, assumed_noise_counts_only_where_runs_say_nothing)
{
    const struct change_noise known = {0.003, 4, false};
    struct change_side base = {.runs_count = 2, .squares = 2e-4, .within = 1e-6};
    struct change_side new_side = {.runs_count = 2, .squares = 2e-4, .within = 1e-6};
    /* S^2 = 2e-4 of two degrees of freedom, and nothing else. */
    struct change alone = change_of(&base, &new_side, &nothing);
    cr_expect_float_eq(alone.error * alone.error, 2e-4, 1e-12);
    cr_expect_float_eq(alone.freedom, 2, 1e-12);
    struct change both = change_of(&base, &new_side, &known);
    cr_expect_lt(both.error, alone.error);
    cr_expect_gt(both.freedom, 2);
    base.runs_count = new_side.runs_count = 1;
    base.squares = new_side.squares = 0;
    struct change assumed = change_of(&base, &new_side, &nothing);
    cr_expect_float_eq(assumed.error * assumed.error, 2 * (9e-4 + 1e-6), 1e-12);
    cr_expect_float_eq(change_noise_assumed().log_sd, nothing.log_sd, 1e-15);
}

Test(measure_change, runs_that_happen_to_agree_are_not_known_better_than_their_samples)
{
    struct change_side base = {.runs_count = 3, .squares = 0, .within = 4e-6};
    struct change_side new_side = base;
    struct change change = change_of(&base, &new_side, &nothing);
    cr_expect_float_eq(change.error * change.error, 2 * 4e-6 / 3, 1e-15);
}

Test(measure_change, holms_method_agrees_with_statsmodels)
{
    json_t *root = NULL;
    const json_t *rows = golden_rows_of(FILE_NAME, "holm", 5, &root);
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        double small[128];
        size_t count = 0;
        size_t tests = json_array_size(json_object_get(row, "p"));
        for (size_t j = 0; j < tests; j++)
            if (golden_item(row, "p", j) <= CHANGE_ALPHA)
                small[count++] = golden_item(row, "p", j);
        cr_expect_eq(change_holm(small, count, tests, CHANGE_ALPHA),
                     (size_t)golden_number(row, "rejected"), "row %zu", i);
    }
    json_decref(root);
}

Test(measure_change, a_change_must_be_certain_and_large_enough)
{
    static const struct {
        double ratio, error, percent;
        bool is_significant;
        enum change_outcome outcome;
    } cases[] = {
        {1.05, 0.005, 2, true, CHANGE_WORSE},      {1 / 1.05, 0.005, 2, true, CHANGE_BETTER},
        {1.05, 0.005, 2, false, CHANGE_UNDECIDED}, /* as among many tests */
        {1.0, 0.005, 2, false, CHANGE_SAME},       {1.015, 0.001, 2, true, CHANGE_SAME},
        {1.019, 0.004, 2, true, CHANGE_UNDECIDED}, {1.03, 0.012, 2, true, CHANGE_UNDECIDED},
        {1.0, 0.02, 2, false, CHANGE_UNDECIDED},   {1.05, 0.001, 5, true, CHANGE_WORSE},
        {1.049, 0.001, 5, true, CHANGE_UNDECIDED}, {1.03, 0.001, 5, true, CHANGE_SAME},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        const struct change_noise none = {0, 1, false};
        struct change_side base = one_run(1, cases[i].error / sqrt(2));
        struct change_side new_side = one_run(1 + log(cases[i].ratio), cases[i].error / sqrt(2));
        struct change change = change_of(&base, &new_side, &none);
        struct change_rule rule = rule_of(cases[i].percent, cases[i].is_significant);
        cr_expect_eq(change_decide(&change, &rule), cases[i].outcome, "case %zu", i);
        /* Of a rate the other way is worse. */
        enum change_outcome turned = cases[i].outcome == CHANGE_WORSE    ? CHANGE_BETTER
                                     : cases[i].outcome == CHANGE_BETTER ? CHANGE_WORSE
                                                                         : cases[i].outcome;
        rule.is_higher_better = true;
        cr_expect_eq(change_decide(&change, &rule), turned, "case %zu", i);
    }
}

Test(measure_change, without_any_interval_nothing_is_decided)
{
    struct change_side base = one_run(1, NAN);
    struct change_side new_side = one_run(2, 0.001);
    struct change change = change_of(&base, &new_side, &nothing);
    cr_expect_not(change.is_known);
    cr_expect_float_eq(change.log_ratio, 1, 1e-15);
    const struct change_rule rule = rule_of(2, true);
    cr_expect_eq(change_decide(&change, &rule), CHANGE_UNDECIDED);
    cr_expect_eq(change_decide_reading(&change, &rule), CHANGE_WORSE, "by its size alone");
    new_side.mean = 1.001;
    change = change_of(&base, &new_side, &nothing);
    cr_expect_eq(change_decide_reading(&change, &rule), CHANGE_SAME);
}

Test(measure_change, readings_of_several_runs_must_be_significant_too)
{
    struct change_side base = {.runs_count = 3, .squares = 0.08, .within = NAN};
    struct change_side new_side = {.runs_count = 3, .mean = 0.06, .squares = 0.08, .within = NAN};
    struct change change = change_of(&base, &new_side, &nothing);
    cr_assert(change.is_known);
    cr_expect_gt(change_p(&change), 0.05);
    const struct change_rule rule = rule_of(5, false);
    cr_expect_eq(change_decide_reading(&change, &rule), CHANGE_UNDECIDED);
    base.squares = new_side.squares = 0;
    change = change_of(&base, &new_side, &nothing);
    cr_expect_eq(change_decide_reading(&change, &rule), CHANGE_WORSE, "there is no spread");
}

/* --- how often it is right, by simulation with known noise --- */

#define PAIRS       2000
#define SIMULATED_W 0.003 /* by its own samples: the default precision, +-0.6 % */

static double gauss(uint64_t key, uint64_t *counter)
{
    return special_normal_quantile(((double)(random_at(key, (*counter)++) >> 11) + 0.5) * 0x1p-53);
}

static struct change_side simulate(uint64_t key, uint64_t *counter, size_t runs, double level,
                                   double between)
{
    struct change_side side = {.runs_count = runs, .within = SIMULATED_W * SIMULATED_W};
    double values[16];
    for (size_t i = 0; i < runs; i++) {
        values[i] = level + hypot(between, SIMULATED_W) * gauss(key, counter);
        side.mean += values[i] / (double)runs;
    }
    for (size_t i = 0; i < runs; i++)
        side.squares += pow(values[i] - side.mean, 2);
    return side;
}

/* Of pairs that nothing is known of before: how many of 100 are WORSE (and BETTER, if asked). */
static double share_of(size_t runs, double between, double factor, bool with_better)
{
    size_t found = 0;
    uint64_t counter = 0;
    uint64_t key = random_key(14, (uint64_t)runs * 1000 + (uint64_t)(between * 1e5));
    for (size_t i = 0; i < PAIRS; i++) {
        struct change_side base = simulate(key, &counter, runs, 0, between);
        struct change_side now = simulate(key, &counter, runs, log(factor), between);
        struct change_noise noise = change_noise_assumed();
        struct change change = change_of(&base, &now, &noise);
        struct change_rule rule = rule_of(2, change_is_significant(&change, CHANGE_ALPHA));
        enum change_outcome outcome = change_decide(&change, &rule);
        found += outcome == CHANGE_WORSE || (with_better && outcome == CHANGE_BETTER);
    }
    return 100 * (double)found / PAIRS;
}

Test(measure_change, equal_sides_differ_in_five_of_a_hundred_at_most)
{
    static const double between[] = {0, 0.003, 0.005, 0.01, 0.02, 0.03};
    static const size_t runs[] = {1, 2, 3, 5, 10};
    for (size_t r = 0; r < ARRAY_COUNT(runs); r++)
        for (size_t b = 0; b < ARRAY_COUNT(between); b++)
            cr_expect_leq(share_of(runs[r], between[b], 1, true), 5, "%zu runs, %g apart", runs[r],
                          between[b]);
}

/* What docs/compare.md recommends, and what it says of one run a side. */
Test(measure_change, trials_find_three_percent_in_nine_of_ten)
{
    cr_expect_geq(share_of(3, 0.003, 1.03, false), 90);
    cr_expect_geq(share_of(5, 0.005, 1.03, false), 90);
    cr_expect_geq(share_of(8, 0.01, 1.03, false), 90);
    cr_expect_geq(share_of(5, 0.01, 1.05, false), 90);
    cr_expect_eq(share_of(1, 0.003, 1.05, false), 0);
    cr_expect_geq(share_of(1, 0.003, 1.12, false), 90);
}
