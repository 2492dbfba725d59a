#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "drive/pair_state.h"

TestSuite(drive_pair_outcome);

#define ROUNDS 20

/* A comparison of five starts that has ended: A's blocks took 4 ms, B's 4.008 ms. */
struct bench {
    struct cell cell;
    struct client_options options;
    struct pair_plan plan;
    struct pair pair;
    struct pair_result result;
    double log_ratios[ROUNDS], times[PAIR_SIDES][ROUNDS * BLOCKS_PER_SIDE];
};

static void set_up(struct bench *bench)
{
    const double ms[PAIR_SIDES] = {4, 4.008};
    memset(bench, 0, sizeof(*bench));
    bench->plan.rule = (struct sequence_rule){.starts_max = 5, .limits = {.threshold = 0.01}};
    struct pair *pair = &bench->pair;
    pair->plan = &bench->plan;
    pair->rounds_count = pair->capacity = ROUNDS;
    pair->log_ratios = bench->log_ratios;
    pair->is_complete = true;
    pair->steps_per_block = 3;
    pair->lead_in_steps_count = 4 * ROUNDS;
    pair->measured_ns = 7 * NS_PER_S;
    for (int side = 0; side < PAIR_SIDES; side++) {
        client_init(&pair->sides[side].client, &bench->cell, &bench->options);
        pair->warmup_steps_count[side] = 10 + (uint64_t)side;
        pair->times[side] = bench->times[side];
        for (size_t i = 0; i < BLOCKS_PER_SIDE * ROUNDS; i++)
            bench->times[side][i] = ms[side] * 1e6;
    }
    for (size_t i = 0; i < ROUNDS; i++)
        bench->log_ratios[i] = log(ms[1] / ms[0]);
    interference_count(&pair->interference, INTERFERENCE_NONE, 12);
    sequence_init(&pair->sequence, &bench->plan.rule);
    pair->sequence.starts_count = pair->sequence.planned_count = 5;
    pair->sequence.end = SEQUENCE_ALL_STARTS;
    pair->sequence.looks_count = 1;
    pair->sequence.looks[0] = (struct sequence_look){.starts_count = 5,
                                                     .rounds_count = ROUNDS,
                                                     .error = 0.05,
                                                     .log_ratio = 0.002,
                                                     .log_ratio_ci = {true, -0.014, 0.018},
                                                     .outcome = COMPARE_OUTCOME_UNDECIDED};
}

static void decide(struct bench *bench, enum compare_outcome outcome)
{
    bench->pair.sequence.looks[0].outcome = outcome;
    bench->pair.sequence.end = SEQUENCE_DECIDED;
}

static void look(struct bench *bench)
{
    struct err err = {0};
    cr_assert_eq(pair_outcome(&bench->pair, &bench->result, &err), STATUS_OK, "%s", err.text);
}

static void expect(const struct bench *bench, enum compare_outcome outcome, const char *code)
{
    cr_expect_eq(bench->result.outcome, outcome);
    cr_expect_str_eq(reasons_deciding(&bench->result.reasons), code);
}

Test(drive_pair_outcome, each_side_has_its_own_figures)
{
    static struct bench bench;
    set_up(&bench);
    decide(&bench, COMPARE_OUTCOME_SLOWER);
    look(&bench);
    expect(&bench, COMPARE_OUTCOME_SLOWER, "");
    const struct pair_side_result *sides = bench.result.sides;
    cr_expect_float_eq(sides[PAIR_A].median.value, 4e6, 1);
    cr_expect_float_eq(sides[PAIR_B].median.value, 4.008e6, 1);
    cr_expect(sides[PAIR_A].warmup_steps_count == 10 && sides[PAIR_B].warmup_steps_count == 11);
    cr_expect(sides[PAIR_A].blocks_count == 40 && sides[PAIR_A].steps_count == 120);
    cr_expect(sides[PAIR_A].verdict == VERDICT_OK && sides[PAIR_B].verdict == VERDICT_OK);
    cr_expect(bench.result.steps_per_block == 3 && bench.result.lead_in_steps_count == 80);
    cr_expect_eq(bench.result.measured_ns, 7 * NS_PER_S);
    /* ratio and interval are the last look's, not the rounds' */
    cr_expect_float_eq(bench.result.comparison.log_ratio, 0.002, 1e-15);
    cr_expect_float_eq(bench.result.comparison.log_ratio_ci.low, -0.014, 1e-15);
    cr_expect_float_eq(bench.result.comparison.log_ratio_ci.high, 0.018, 1e-15);
}

/* The interval is twice as wide as what is left to the threshold: four times as many starts. */
Test(drive_pair_outcome, what_would_have_decided_it_is_said)
{
    static struct bench bench;
    set_up(&bench);
    look(&bench);
    expect(&bench, COMPARE_OUTCOME_UNDECIDED, "precision_not_met");
    const struct reasons *reasons = &bench.result.reasons;
    cr_expect_str_eq(reasons->items[0].text,
                     "not decided after 5 starts (20 rounds, 7.0s), and there may be no more "
                     "(--starts); about 20 would decide it");
    cr_assert_eq(reasons->count, 2);
    cr_expect_str_eq(reasons->items[1].code, "straddles_threshold");
    cr_expect_not_null(strstr(reasons->items[1].text, "between -1.39 % and +1.82 %"), "%s",
                       reasons->items[1].text);
    static const struct {
        enum sequence_end end;
        size_t planned_count;
        const char *text;
    } cases[] = {{SEQUENCE_TIME, 5, "--max-time is used up"},
                 {SEQUENCE_PREPARING, 5, "no room for more: preparing one takes 9.0s"},
                 {SEQUENCE_ALL_STARTS, 4, "no room for more: preparing one takes 9.0s"}};
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        set_up(&bench);
        bench.pair.sequence.end = cases[i].end;
        bench.pair.sequence.planned_count = cases[i].planned_count;
        bench.pair.sequence.longest_prepare_ns = 9 * NS_PER_S;
        look(&bench);
        cr_expect_not_null(strstr(bench.result.reasons.items[0].text, cases[i].text), "%s",
                           bench.result.reasons.items[0].text);
    }
    /* beyond the floor the gap is the one to the floor */
    set_up(&bench);
    bench.plan.rule.limits.floor = 0.02;
    bench.pair.sequence.looks[0].log_ratio = 0.056;
    look(&bench);
    cr_expect_not_null(strstr(bench.result.reasons.items[0].text, "5 starts"));
    cr_expect_null(strstr(bench.result.reasons.items[0].text, "would decide"),
                   "fewer than there were");
    cr_expect_str_eq(bench.result.reasons.items[1].code, "floor_above_threshold");
}

Test(drive_pair_outcome, what_goes_wrong_decides_nothing)
{
    static struct bench bench;
    set_up(&bench);
    decide(&bench, COMPARE_OUTCOME_FASTER);
    session_end(&bench.pair.sides[PAIR_B].client.session, VERDICT_CRASHED, "exited", "it is gone");
    look(&bench);
    expect(&bench, COMPARE_OUTCOME_UNDECIDED, "b_failed");
    cr_expect_str_eq(bench.result.reasons.items[0].text, "B is crashed: it is gone");
    cr_expect_eq(bench.result.sides[PAIR_A].verdict, VERDICT_OK);
    cr_expect_eq(bench.result.sides[PAIR_B].verdict, VERDICT_CRASHED);

    set_up(&bench);
    decide(&bench, COMPARE_OUTCOME_FASTER);
    bench.pair.is_complete = false;
    look(&bench);
    expect(&bench, COMPARE_OUTCOME_UNDECIDED, "");

    set_up(&bench);
    decide(&bench, COMPARE_OUTCOME_FASTER);
    interference_count(&bench.pair.interference, INTERFERENCE_FOREIGN, 12);
    look(&bench);
    expect(&bench, COMPARE_OUTCOME_FASTER, "");
    interference_count(&bench.pair.interference, INTERFERENCE_STOLEN, 12);
    bench.result = (struct pair_result){0};
    look(&bench);
    expect(&bench, COMPARE_OUTCOME_UNDECIDED, "foreign_load");
    cr_expect_eq(bench.result.rounds_run_count, 3);
    cr_expect_eq(bench.result.rounds_by_cause[INTERFERENCE_STOLEN], 1);
}

Test(drive_pair_outcome, what_was_stopped_is_judged_by_what_there_is)
{
    static struct bench bench;
    set_up(&bench);
    decide(&bench, COMPARE_OUTCOME_SAME);
    bench.pair.is_complete = false;
    bench.result.is_interrupted = true;
    reasons_add(&bench.pair.unsteady[PAIR_A], "warmup_not_steady", "it moves");
    look(&bench);
    expect(&bench, COMPARE_OUTCOME_SAME, "interrupted");
    cr_expect_str_eq(bench.result.reasons.items[0].text,
                     "stopped by a signal after 20 rounds; judged by what there is");
    cr_expect_eq(bench.result.sides[PAIR_A].verdict, VERDICT_INTERRUPTED);
    cr_expect(reasons_have(&bench.result.sides[PAIR_A].reasons, "warmup_not_steady"));

    set_up(&bench);
    decide(&bench, COMPARE_OUTCOME_SAME);
    reasons_add(&bench.pair.unsteady[PAIR_B], "warmup_not_steady", "it moves");
    look(&bench);
    expect(&bench, COMPARE_OUTCOME_SAME, "");
    cr_expect_eq(bench.result.sides[PAIR_A].verdict, VERDICT_OK);
    cr_expect_eq(bench.result.sides[PAIR_B].verdict, VERDICT_UNSTEADY);
}

Test(drive_pair_outcome, a_comparison_without_a_round_has_no_figures)
{
    static struct bench bench;
    set_up(&bench);
    bench.pair.rounds_count = 0;
    bench.pair.sequence.starts_count = bench.pair.sequence.looks_count = 0;
    bench.pair.is_complete = false;
    look(&bench);
    expect(&bench, COMPARE_OUTCOME_UNDECIDED, "");
    cr_expect_not(bench.result.sides[PAIR_A].was_started);
    cr_expect_eq(bench.result.sides[PAIR_A].blocks_count, 0);
}
