#include "measure/sequence.h"

#include <criterion/criterion.h>
#include <math.h>

#include "base/clock.h"
#include "base/random.h"

#define ROUNDS 20

static const struct compare_prior prior = {.sd = 0.015, .freedom = 4};

static struct sequence_rule rule_of(size_t starts_max, uint64_t rounds_exact)
{
    return (struct sequence_rule){
        .starts_max = starts_max,
        .rounds_exact = rounds_exact,
        .time_max_ns = rounds_exact > 0 ? 0 : 60 * NS_PER_S,
        .limits = {.threshold = log1p(0.01)},
        .prior = prior,
    };
}

/* Rounds about `center`, within +-0.05 %. */
static void fill(double *rounds, size_t count, double center)
{
    for (size_t i = 0; i < count; i++)
        rounds[i] = center + 0.001 * (random_unit(random_at(5, i)) - 0.5);
}

/* A start of `seconds`, ready after `prepare_s`. */
static void add(struct sequence *sequence, double center, double seconds, double prepare_s)
{
    double rounds[ROUNDS];
    fill(rounds, ROUNDS, center);
    sequence_prepared(sequence, (uint64_t)(prepare_s * (double)NS_PER_S), 1e7);
    cr_assert_eq(
        sequence_add_start(sequence, rounds, ROUNDS, (uint64_t)(seconds * (double)NS_PER_S), NULL),
        STATUS_OK);
}

Test(measure_sequence, a_large_difference_ends_within_the_first_start)
{
    static const size_t looks[] = {12, 24, 48, 96, 192};
    double rounds[200];
    const struct sequence_rule rule = rule_of(10, 0);
    struct sequence sequence;
    sequence_init(&sequence, &rule);
    sequence_prepared(&sequence, NS_PER_S, 1e7);
    size_t found = 0;
    for (size_t count = 1; count <= 200; count++)
        found += sequence_is_early_look(&sequence, count);
    cr_expect_eq(found, ARRAY_COUNT(looks));
    for (size_t i = 0; i < ARRAY_COUNT(looks); i++)
        cr_expect(sequence_is_early_look(&sequence, looks[i]), "%zu", looks[i]);
    /* Student's t of 4 degrees at 0.001 is 8.610; times 1.5 % it is 12.9 %. */
    fill(rounds, 12, 0.138);
    cr_assert_eq(sequence_look_early(&sequence, rounds, 12, NULL), STATUS_OK);
    cr_expect_eq(sequence.end, SEQUENCE_GOES_ON);
    cr_expect_float_eq(sequence_result(&sequence)->log_ratio_ci.low, 0.138 - 8.610 * 0.015, 1e-3);
    fill(rounds, 24, 0.142);
    cr_assert_eq(sequence_look_early(&sequence, rounds, 24, NULL), STATUS_OK);
    cr_expect_eq(sequence.end, SEQUENCE_DECIDED);
    cr_expect_eq(sequence_result(&sequence)->outcome, COMPARE_OUTCOME_SLOWER);
    cr_expect_eq(sequence.starts_count, 1);
    cr_expect_eq(sequence_result(&sequence)->error, 0.001);
}

/* A difference of 20 % needs no second start, one of 8 % no third, one of 3 % more than five. */
Test(measure_sequence, the_smaller_the_difference_the_more_starts)
{
    static const struct {
        double difference;
        size_t least, most;
    } cases[] = {{0.20, 1, 1}, {0.08, 2, 2}, {0.03, 5, 9}, {-0.20, 1, 1}};
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        const struct sequence_rule rule = rule_of(10, 0);
        struct sequence sequence;
        sequence_init(&sequence, &rule);
        while (sequence.end == SEQUENCE_GOES_ON)
            add(&sequence,
                log1p(cases[i].difference) + (sequence.starts_count % 2 == 0 ? 0.009 : -0.009), 6,
                1);
        cr_expect_eq(sequence.end, SEQUENCE_DECIDED);
        cr_expect(sequence.starts_count >= cases[i].least && sequence.starts_count <= cases[i].most,
                  "%g: %zu starts", cases[i].difference, sequence.starts_count);
        cr_expect_eq(sequence_result(&sequence)->outcome,
                     cases[i].difference > 0 ? COMPARE_OUTCOME_SLOWER : COMPARE_OUTCOME_FASTER);
    }
}

Test(measure_sequence, all_starts_spend_all_of_the_error)
{
    const struct sequence_rule rule = rule_of(10, 0);
    struct sequence sequence;
    sequence_init(&sequence, &rule);
    while (sequence.end == SEQUENCE_GOES_ON)
        add(&sequence, log1p(0.01) + (sequence.starts_count % 2 == 0 ? 0.02 : -0.02), 6, 1);
    cr_expect_eq(sequence.end, SEQUENCE_ALL_STARTS);
    cr_expect_eq(sequence.looks_count, 10);
    cr_expect_eq(sequence_result(&sequence)->outcome, COMPARE_OUTCOME_UNDECIDED);
    /* 0.044 t^2 alone at the first look; the last is nearly a single look's. */
    cr_expect_float_eq(sequence.looks[0].error, 0.00044, 1e-12);
    for (size_t i = 1; i < 10; i++)
        cr_expect_gt(sequence.looks[i].error, sequence.looks[i - 1].error);
    cr_expect(sequence.looks[9].error > 0.025 && sequence.looks[9].error < 0.044);
}

Test(measure_sequence, few_starts_where_preparing_is_dear_or_rounds_are_long)
{
    static const struct {
        double prepare_s, round_s;
        size_t planned;
    } cases[] = {{1, 0.1, 10}, {6.6, 0.1, 10}, {10, 0.1, 7}, {31, 0.1, 2},
                 {61, 0.1, 1}, {600, 0.1, 1},  {1, 5, 4},    {1, 100, 1}};
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        const struct sequence_rule rule = rule_of(10, 0);
        struct sequence sequence;
        sequence_init(&sequence, &rule);
        sequence_prepared(&sequence, (uint64_t)(cases[i].prepare_s * (double)NS_PER_S),
                          cases[i].round_s * (double)NS_PER_S);
        cr_expect_eq(sequence.planned_count, cases[i].planned, "%zu: %zu", i,
                     sequence.planned_count);
        cr_expect_eq(sequence_start_time_ns(&sequence), 60 * NS_PER_S / cases[i].planned);
        cr_expect_leq(sequence_left_ns(&sequence), 2 * 60 * NS_PER_S);
    }
}

/* Planned for seven, the later ones are dearer: the last that there is time for spends the rest. */
Test(measure_sequence, preparing_is_counted_and_the_last_look_knows_that_it_is)
{
    const struct sequence_rule rule = rule_of(10, 0);
    struct sequence sequence;
    sequence_init(&sequence, &rule);
    add(&sequence, 0.03, 1, 10);
    cr_expect_eq(sequence.planned_count, 7);
    add(&sequence, 0.05, 1, 25);
    cr_expect_eq(sequence.end, SEQUENCE_GOES_ON);
    add(&sequence, 0.01, 1, 25);
    cr_expect_eq(sequence.end, SEQUENCE_PREPARING);
    cr_expect_gt(sequence.looks[2].error, 0.03, "%g", sequence.looks[2].error);
    /* A first start that compiles for long says nothing about those that find it done. */
    sequence_init(&sequence, &rule);
    add(&sequence, 0.03, 1, 29);
    cr_expect_eq(sequence.planned_count, 3);
    add(&sequence, 0.05, 1, 1);
    cr_expect_eq(sequence.longest_prepare_ns, NS_PER_S);
    cr_expect_eq(sequence.end, SEQUENCE_GOES_ON);
    /* And rounds that take longer than their share end it, too. */
    sequence_init(&sequence, &rule);
    add(&sequence, 0.03, 61, 1);
    cr_expect_eq(sequence.end, SEQUENCE_TIME);
    cr_expect_float_eq(sequence.looks[0].error, 0.044, 1e-12);
}

Test(measure_sequence, exact_rounds_are_judged_once)
{
    const struct sequence_rule rule = rule_of(5, ROUNDS);
    struct sequence sequence;
    sequence_init(&sequence, &rule);
    cr_expect_not(sequence_is_early_look(&sequence, 12));
    for (size_t i = 0; i < 5; i++) {
        cr_expect_eq(sequence.looks_count, 0);
        add(&sequence, 0.5 + 0.01 * (double)i, 1, 1);
    }
    cr_expect_eq(sequence.looks_count, 1);
    const struct sequence_look *result = sequence_result(&sequence);
    cr_expect_eq(result->error, 0.05);
    /* 2.776 sqrt(2.5) % / sqrt(5) */
    cr_expect_float_eq(result->log_ratio_ci.high - result->log_ratio, 0.019632, 1e-6);
    cr_expect_eq(result->outcome, COMPARE_OUTCOME_SLOWER);
}

Test(measure_sequence, cut_it_is_judged_by_what_there_is)
{
    const struct sequence_rule rule = rule_of(5, ROUNDS);
    struct sequence sequence;
    sequence_init(&sequence, &rule);
    sequence_cut(&sequence);
    cr_expect_null(sequence_result(&sequence));
    add(&sequence, 0.5, 1, 1);
    add(&sequence, 0.51, 1, 1);
    sequence_cut(&sequence);
    /* (2 / 5)^2 of the error */
    cr_expect_float_eq(sequence_result(&sequence)->error, 0.008, 1e-12);
    cr_expect_eq(sequence_result(&sequence)->outcome, COMPARE_OUTCOME_SLOWER);
    /* Without exact rounds it has looked already, and the rest of the error is not spent. */
    const struct sequence_rule looking = rule_of(5, 0);
    sequence_init(&sequence, &looking);
    add(&sequence, 0.02, 1, 1);
    add(&sequence, 0.03, 1, 1);
    sequence_cut(&sequence);
    cr_expect_eq(sequence.looks_count, 2);
    cr_expect_eq(sequence_result(&sequence)->outcome, COMPARE_OUTCOME_UNDECIDED);
}

Test(measure_sequence, a_single_start_has_its_rounds_interval)
{
    double rounds[200];
    struct sequence_rule rule = rule_of(1, 0);
    struct sequence sequence;
    sequence_init(&sequence, &rule);
    sequence_prepared(&sequence, 100 * NS_PER_S, 1e7);
    cr_expect_eq(sequence.planned_count, 1);
    cr_expect_eq(sequence_start_time_ns(&sequence), 60 * NS_PER_S);
    fill(rounds, 24, 0.015);
    cr_assert_eq(sequence_look_early(&sequence, rounds, 24, NULL), STATUS_OK);
    cr_expect_eq(sequence.end, SEQUENCE_DECIDED, "it asks nothing of two processes");
    cr_expect_eq(sequence_result(&sequence)->outcome, COMPARE_OUTCOME_SLOWER);
    /* An estimate ends by its precision alone. */
    rule.is_estimate = true;
    sequence_init(&sequence, &rule);
    cr_expect_not(sequence_is_early_look(&sequence, 12));
    add(&sequence, 0.5, 1, 1);
    cr_expect_eq(sequence.end, SEQUENCE_ALL_STARTS);
    cr_expect_eq(sequence_result(&sequence)->error, 0.05);
}
