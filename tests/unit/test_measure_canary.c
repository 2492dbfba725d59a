#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "measure/canary.h"

static struct measure_reading reading(double median, double half_width)
{
    return (struct measure_reading){
        .median = median, .median_95 = {half_width > 0, median - half_width, median + half_width}};
}

static struct canary_change change_of(double first, double newest, double half_width)
{
    struct measure_reading earlier = reading(first, half_width);
    struct measure_reading later = reading(newest, half_width);
    return canary_compare(&earlier, &later, 1);
}

Test(measure_canary, beyond_only_with_the_whole_interval)
{
    cr_expect(change_of(10, 10.3, 0.01).is_beyond, "3 %% slower, certain to 0.14 %%");
    cr_expect(change_of(10, 9.7, 0.01).is_beyond, "and 3 %% faster");
    cr_expect_not(change_of(10, 10.05, 0.01).is_beyond, "0.5 %% is allowed");
    cr_expect_not(change_of(10, 10.3, 0.3).is_beyond, "3 %% of 4 %%: not certain");
    struct canary_change change = change_of(10, 10.3, 0.01);
    cr_expect_float_eq(change.ratio.percent.value, 3, 1e-9);
    cr_expect(change.ratio.percent_95.low < 3 && change.ratio.percent_95.high > 3);
    cr_expect_eq(change.limit_percent, 1);
}

Test(measure_canary, what_is_not_known_is_no_drift)
{
    struct canary_change change = change_of(10, 20, 0);
    cr_expect(change.ratio.percent.is_known);
    cr_expect_not(change.ratio.percent_95.is_known);
    cr_expect_not(change.is_beyond, "without an interval nothing is certain");
    struct measure_reading known = reading(10, 0.1);
    struct measure_reading unknown = {0};
    change = canary_compare(&known, &unknown, 1);
    cr_expect_not(change.ratio.percent.is_known);
    cr_expect_not(change.is_beyond);
    change = canary_compare(&unknown, &known, 1);
    cr_expect_not(change.ratio.percent.is_known);
}

Test(measure_canary, due_after_its_interval_and_other_cells)
{
    cr_expect(canary_is_due(1000, 400, 600, 1));
    cr_expect_not(canary_is_due(999, 400, 600, 1), "too early");
    cr_expect_not(canary_is_due(5000, 400, 600, 0), "nothing else was measured");
    cr_expect_not(canary_is_due(5000, 400, 0, 9), "off");
    cr_expect_not(canary_is_due(300, 400, 600, 1), "a clock that went back");
}

Test(measure_canary, its_policy_is_capped_at_ten_seconds)
{
    struct measure_policy policy = measure_policy_default();
    cr_assert_eq(policy.time_max_ns, 30000000000ULL);
    struct measure_policy capped = canary_policy(&policy, 5e6);
    cr_expect_eq(capped.time_max_ns, 10000000000ULL);
    cr_expect_eq(capped.target_ci_percent, policy.target_ci_percent);
    policy.time_max_ns = 20000000;
    policy.time_min_ns = 10000000;
    capped = canary_policy(&policy, 5e6);
    cr_expect_eq(capped.time_max_ns, 20000000, "less stays less");
    cr_expect_eq(capped.time_min_ns, 10000000);
    policy.time_max_ns = policy.time_min_ns = 60000000000ULL;
    cr_expect_eq(canary_policy(&policy, 5e6).time_min_ns, 10000000000ULL);
    policy.steps_exact = 100;
    cr_expect_eq(canary_policy(&policy, 5e6).steps_exact, 100, "half a second");
    cr_expect_eq(canary_policy(&policy, 4e8).steps_exact, 25, "ten seconds of 40");
    cr_expect_eq(canary_policy(&policy, 6e10).steps_exact, 1, "one step is the least");
    cr_expect_eq(canary_policy(&policy, 0).steps_exact, 100, "below the clock");
    policy.steps_exact = 0;
    cr_expect_eq(canary_policy(&policy, 6e10).steps_exact, 0, "by precision stays so");
}

Test(measure_canary, the_reason_has_the_figures)
{
    struct reasons reasons = {0};
    struct canary_change change = change_of(10, 10.05, 0.01);
    canary_add_reason(&change, &reasons);
    cr_expect_eq(reasons.count, 0);
    change = change_of(10, 10.3, 0.01);
    canary_add_reason(&change, &reasons);
    cr_assert_eq(reasons.count, 1);
    cr_expect_str_eq(reasons.items[0].code, "machine_drift");
    cr_expect_not_null(strstr(reasons.items[0].text, "+3 %"), "%s", reasons.items[0].text);
}
