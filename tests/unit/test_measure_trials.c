#include "measure/trials.h"
#include "measure_golden.h"

#define MOST 64

Test(measure_trials, figures_agree_with_scipy)
{
    json_t *root = NULL;
    const json_t *rows = golden_rows("trials", 7, &root);
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        struct measure_reading readings[MOST];
        size_t count = golden_readings(row, MOST, readings);
        struct trials trials = trials_of(readings, count);
        cr_expect_eq(trials.count, count);
        golden_near(trials.location, golden_number(row, "location"), 0, "location");
        bool is_known = golden_number(row, "low") != GOLDEN_UNKNOWN;
        cr_expect_eq(is_known, count >= 2);
        cr_expect_eq(trials.location_95.is_known, is_known);
        cr_expect_eq(trials.spread_percent.is_known, is_known);
        cr_expect_eq(trials.range_percent.is_known, is_known);
        if (!is_known)
            continue;
        golden_near(trials.location_95.low, golden_number(row, "low"), 0, "low");
        golden_near(trials.location_95.high, golden_number(row, "high"), 0, "high");
        golden_near(trials.spread_percent.value, golden_number(row, "spread"), 0, "spread");
        golden_near(trials.spread_percent.value, golden_number(row, "spread_of_lognorm"), 0,
                    "spread, by the log-normal distribution");
        golden_near(trials.range_percent.value, golden_number(row, "range"), 0, "range");
    }
    json_decref(root);
}

Test(measure_trials, by_hand)
{
    /* ln 2 apart: s = ln 2 / sqrt 2, t of one degree of freedom 12.7062. */
    struct measure_reading readings[] = {{.median = 2}, {.median = 4}, {.median = 2}};
    struct trials two = trials_of(readings, 2);
    cr_expect_float_eq(two.location, sqrt(8), 1e-12);
    cr_expect_float_eq(log(two.location_95.high / two.location), 12.7062 * log(2) / 2, 1e-4);
    cr_expect_float_eq(two.range_percent.value, 100, 1e-9);
    struct trials alike[] = {trials_of(readings, 1),
                             trials_of(&(struct measure_reading){.median = 5}, 1)};
    cr_expect_eq(alike[1].location, 5);
    cr_expect_not(alike[0].location_95.is_known);
    readings[1].median = 2;
    struct trials same = trials_of(readings, 3);
    cr_expect_eq(same.location, 2);
    cr_expect(same.location_95.is_known && same.location_95.low == 2 && same.location_95.high == 2);
    cr_expect_eq(same.spread_percent.value, 0);
}

static bool is_wider(double low, double high, double slower)
{
    struct measure_reading readings[] = {
        {.median = 10, .median_95 = {true, low, high}},
        {.median = 10 * slower, .median_95 = {true, 10 * slower, 10 * slower}},
        {.median = 10}};
    struct trials trials = trials_of(readings, ARRAY_COUNT(readings));
    return trials_are_wider(&trials, readings, ARRAY_COUNT(readings));
}

Test(measure_trials, wider_than_one_trial_says_of_itself)
{
    cr_expect(is_wider(9.9, 10.1, 1.1));
    cr_expect_not(is_wider(9, 11, 1.01), "the widest of the trials' own counts");
    struct measure_reading unknown[] = {{.median = 10}, {.median = 20}};
    struct trials trials = trials_of(unknown, 2);
    cr_expect_not(trials_are_wider(&trials, unknown, 2), "no trial has an interval");
    trials = trials_of(unknown, 1);
    unknown[0].median_95 = (struct measure_interval){true, 10, 10};
    cr_expect_not(trials_are_wider(&trials, unknown, 1), "one trial");
}
