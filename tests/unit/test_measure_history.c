#include "measure/history.h"
#include "measure_golden.h"

#define MOST 16

Test(measure_history, probabilities_agree_with_scipy)
{
    json_t *root = NULL;
    const json_t *rows = golden_rows("history", 8, &root);
    size_t disagreed = 0;
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        struct measure_reading runs[MOST];
        size_t count = golden_readings(row, MOST, runs);
        struct history history = history_of(runs, count, golden_number(row, "limit"));
        double probability = golden_number(row, "probability");
        cr_expect_eq(history.runs.count, count);
        golden_near(history.least, golden_number(row, "least"), 0, "least");
        golden_near(history.most, golden_number(row, "most"), 0, "most");
        golden_near(history.probability, probability, 0, "probability");
        cr_expect_eq(history.has_disagreed, probability < 0.05);
        disagreed += history.has_disagreed;
    }
    cr_expect(disagreed >= 2 && disagreed <= 6, "%zu of the cases: both outcomes are to be there",
              disagreed);
    json_decref(root);
}

static struct history of_two(double other_ms)
{
    struct measure_reading runs[] = {{.median = 100}, {.median = other_ms}};
    return history_of(runs, 2, 1);
}

Test(measure_history, two_runs_disagree_when_they_are_farther_apart_than_both_intervals_allow)
{
    /* Two medians within +-1 % each differ by sqrt(2) % at most, with 95 %. */
    cr_expect_not(of_two(100).has_disagreed);
    cr_expect_not(of_two(101.40).has_disagreed);
    cr_expect(of_two(101.43).has_disagreed);
    cr_expect(of_two(98.5).has_disagreed);
    cr_expect_eq(of_two(100).probability, 1);
}

Test(measure_history, the_reason_has_the_figures)
{
    struct measure_reading runs[] = {{.median = 53.5}, {.median = 62.25}, {.median = 54}};
    struct history history = history_of(runs, 3, 1);
    struct reasons reasons = {0};
    history_add_reason(&history, &reasons);
    cr_assert_eq(reasons.count, 1);
    cr_expect_str_eq(reasons.items[0].code, "runs_disagree");
    cr_expect(strstr(reasons.items[0].text, "53.5 to 62.25 ms") != NULL, "%s",
              reasons.items[0].text);
    cr_expect(strstr(reasons.items[0].text, "the last 2 runs") != NULL);
    struct reasons none = {0};
    struct history one = history_of(runs, 1, 1);
    history_add_reason(&one, &none);
    cr_expect_eq(none.count, 0);
}
