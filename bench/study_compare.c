/* What a comparison of two sides in interleaved rounds decides, with no difference and with one, in
 * one start and in several: by measure/sequence.c, with made-up times. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/random.h"
#include "base/status.h"
#include "measure/sequence.h"
#include "statistics_study.h"
#include "study_series.h"

#define ROUND_S     0.02
#define ROUNDS_MAX  300  /* of a single start */
#define ROUNDS_ROOM 3000 /* 60 s of them */
#define THRESHOLD   0.01
#define OUTCOMES    4

struct machine {
    const char *name;
    double sd;      /* of a block's time, independent */
    double slow_sd; /* of what the machine does to neighbouring blocks alike, AR(1) */
    double slow_phi;
    double drift;     /* over ROUNDS_MAX rounds */
    double load;      /* blocks take so much longer while other load is there, */
    double load_kept; /* which goes on or off with 1 - this a block */
    double load_b;    /* and hits side B so much more */
};

/* clang-format off */
static const struct machine machines[] = {
    {"quiet: 1 % noise a block",                  0.01, 0,    0,   0,   0,   0,    0},
    {"3 % noise a block",                         0.03, 0,    0,   0,   0,   0,    0},
    {"1 % noise, 5 % slow noise, AR(1) 0.95",     0.01, 0.05, 0.95,0,   0,   0,    0},
    {"1 % noise, 20 % drift",                     0.01, 0,    0,   0.2, 0,   0,    0},
    {"1 % noise, load of 50 % on and off (0.9)",  0.01, 0,    0,   0,   0.5, 0.9,  0},
    {"1 % noise, load of 50 % on and off (0.99)", 0.01, 0,    0,   0,   0.5, 0.99, 0},
    {"1 % noise, load (0.99) that hits B 5 % more", 0.01, 0,  0,   0,   0.5, 0.99, 0.05},
};
static const double round_effects[] = {0, 0.005, 0.01, 0.02, 0.03};
static const double start_effects[] = {0, 0.01, 0.02, 0.03, 0.08, 0.2};
/* clang-format on */

struct world {
    const struct machine *machine;
    struct study_random random;
    double slow;
    bool has_load;
    size_t blocks;
};

static double next_block(struct world *world, bool is_b, double effect)
{
    const struct machine *machine = world->machine;
    struct study_random *random = &world->random;
    double phi = machine->slow_phi;
    world->slow = phi * world->slow + sqrt(1 - phi * phi) * study_gauss(random);
    if (study_uniform(random) >= machine->load_kept)
        world->has_load = !world->has_load;
    double place = (double)world->blocks++ / (4.0 * ROUNDS_MAX);
    double load = world->has_load ? machine->load + (is_b ? machine->load_b : 0) : 0;
    return (1 + (is_b ? effect : 0)) * (1 + machine->drift * place) * (1 + load) *
           exp(machine->sd * study_gauss(random) + machine->slow_sd * world->slow);
}

static double next_round(struct world *world, size_t round, double effect)
{
    double blocks[4];
    /* A B B A, then B A A B. */
    bool is_b_first = round % 2 == 1;
    for (size_t i = 0; i < 4; i++)
        blocks[i] = next_block(world, (i == 1 || i == 2) != is_b_first, effect);
    if (is_b_first)
        return compare_round(blocks[1], blocks[2], blocks[0], blocks[3]);
    return compare_round(blocks[0], blocks[3], blocks[1], blocks[2]);
}

struct tally {
    size_t outcomes[OUTCOMES];
    size_t covered;
    size_t known;
    double rounds_sum;
    double starts_sum;
    double seconds_sum;
    size_t early_count; /* over within a fifth of the time */
};

static struct sequence_rule rule_of(size_t starts_max, double max_time_s)
{
    return (struct sequence_rule){
        .starts_max = starts_max,
        .time_max_ns = (uint64_t)(max_time_s * (double)NS_PER_S),
        .limits = {.threshold = log1p(THRESHOLD)},
        .prior = compare_prior_built_in(),
    };
}

/* A start as drive/pair.c runs it: to two precise looks in a row or the end of its time, with looks
 * at what it says in the first. */
static void run_start(struct world *world, double effect, struct sequence *sequence)
{
    double rounds[ROUNDS_ROOM];
    size_t most = (size_t)((double)sequence_start_time_ns(sequence) / (ROUND_S * (double)NS_PER_S));
    size_t precise = 0;
    size_t count = 0;
    size_t next_look = compare_look_after(0);
    enum status status = STATUS_OK;
    while (status == STATUS_OK && precise < 2 && count < most && count < ARRAY_COUNT(rounds)) {
        rounds[count] = next_round(world, count, effect);
        count++;
        if (sequence_is_early_look(sequence, count))
            status = sequence_look_early(sequence, rounds, count, NULL);
        if (sequence->end == SEQUENCE_DECIDED)
            break;
        if (status != STATUS_OK || count != next_look)
            continue;
        struct compare_result result = {0};
        status = compare_rounds(rounds, count, &sequence->rule.limits, 1 - SEQUENCE_ERROR, &result,
                                NULL);
        precise = result.is_precise ? precise + 1 : 0;
        next_look = compare_look_after(count);
    }
    double seconds = ROUND_S * (double)count;
    if (status == STATUS_OK && sequence->end == SEQUENCE_DECIDED)
        sequence->measured_ns = (uint64_t)(seconds * (double)NS_PER_S);
    else if (status == STATUS_OK)
        status = sequence_add_start(sequence, rounds, count, (uint64_t)(seconds * (double)NS_PER_S),
                                    NULL);
    if (status != STATUS_OK)
        exit(1);
}

static void take(const struct sequence *sequence, double effect, struct tally *tally)
{
    const struct sequence_look *last = sequence_result(sequence);
    double truth = log1p(effect);
    double limit_s = (double)sequence->rule.time_max_ns / (double)NS_PER_S;
    double seconds =
        (double)(sequence->measured_ns + sequence->first_prepare_ns + sequence->later_prepare_ns) /
        (double)NS_PER_S;
    tally->outcomes[last->outcome]++;
    tally->known += last->log_ratio_ci.is_known;
    tally->covered += last->log_ratio_ci.is_known && last->log_ratio_ci.low <= truth &&
                      truth <= last->log_ratio_ci.high;
    tally->rounds_sum += (double)sequence->rounds_count;
    tally->starts_sum += (double)sequence->starts_count;
    tally->seconds_sum += seconds;
    tally->early_count += last->outcome != COMPARE_OUTCOME_UNDECIDED && seconds <= limit_s / 5;
}

static void print_outcomes(const struct tally *tally, double scale)
{
    printf(" %.1f / %.1f / %.1f / %.1f, %.1f",
           scale * (double)tally->outcomes[COMPARE_OUTCOME_FASTER],
           scale * (double)tally->outcomes[COMPARE_OUTCOME_SLOWER],
           scale * (double)tally->outcomes[COMPARE_OUTCOME_SAME],
           scale * (double)tally->outcomes[COMPARE_OUTCOME_UNDECIDED],
           100 * (double)tally->covered / (double)tally->known);
}

static void print_head(const char *first, const double *effects, size_t count)
{
    printf("| %s |", first);
    for (size_t e = 0; e < count; e++)
        printf(" B takes +%g %% |", 100 * effects[e]);
    printf("\n| --- |");
    for (size_t e = 0; e < count; e++)
        printf(" --- |");
    printf("\n");
}

/* --- one start --- */

void study_compare(const struct study_options *options)
{
    const struct sequence_rule rule = rule_of(1, ROUNDS_MAX * ROUND_S);
    printf("\nOne start, threshold 1 %%, at most %d rounds: %% FASTER / SLOWER / SAME / UNDECIDED, "
           "coverage of the interval in %%, @ mean rounds\n\n",
           ROUNDS_MAX);
    print_head("machine", round_effects, ARRAY_COUNT(round_effects));
    for (size_t m = 0; m < ARRAY_COUNT(machines); m++) {
        printf("| %s |", machines[m].name);
        for (size_t e = 0; e < ARRAY_COUNT(round_effects); e++) {
            struct tally tally = {0};
            uint64_t key = random_key(random_key(random_key(options->seed, 9), m), e);
            for (size_t i = 0; i < options->series_count; i++) {
                struct sequence sequence;
                struct world world = {.machine = &machines[m], .random = {random_key(key, i), 0}};
                world.slow = study_gauss(&world.random);
                sequence_init(&sequence, &rule);
                sequence_prepared(&sequence, 0, ROUND_S * (double)NS_PER_S);
                run_start(&world, round_effects[e], &sequence);
                take(&sequence, round_effects[e], &tally);
            }
            double count = (double)options->series_count;
            print_outcomes(&tally, 100 / count);
            printf(" @%.0f |", tally.rounds_sum / count);
        }
        printf("\n");
    }
}

/* --- several starts --- */

struct scenario {
    const char *name;
    size_t machine;     /* of `machines` */
    double process_sd;  /* by which a process is slower or faster for its whole life, log */
    bool has_two_kinds; /* that much slower or faster, and nothing between */
    double prepare_s;   /* a start, */
    double max_time_s;
};

/* clang-format off */
static const struct scenario scenarios[] = {
    {"processes alike",                                     0, 0,     false, 1,  60},
    {"processes 0.3 % apart",                               0, 0.003, false, 1,  60},
    {"processes 1 % apart",                                 0, 0.01,  false, 1,  60},
    {"1 % apart, 3 % noise a block",                        1, 0.01,  false, 1,  60},
    {"1 % apart, load of 50 % on and off (0.99)",           5, 0.01,  false, 1,  60},
    {"two layouts of the process, +-1 %",                   0, 0.01,  true,  1,  60},
    {"2 % apart",                                           0, 0.02,  false, 1,  60},
    {"two layouts of the process, +-3 %",                   0, 0.03,  true,  1,  60},
    {"1 % apart, preparing takes 12 s",                     0, 0.01,  false, 12, 60},
    {"1 % apart, preparing takes 45 s, --max-time 20s",     0, 0.01,  false, 45, 20},
};
/* clang-format on */

static double process_of(const struct scenario *scenario, struct study_random *random)
{
    double own =
        scenario->has_two_kinds ? (study_uniform(random) < 0.5 ? -1 : 1) : study_gauss(random);
    return scenario->process_sd * own;
}

static void study_scenario(const struct scenario *scenario, double effect, uint64_t key,
                           struct tally *tally)
{
    const struct sequence_rule rule = rule_of(20, scenario->max_time_s);
    struct sequence sequence;
    struct world world = {.machine = &machines[scenario->machine], .random = {key, 0}};
    world.slow = study_gauss(&world.random);
    sequence_init(&sequence, &rule);
    while (sequence.end == SEQUENCE_GOES_ON) {
        double apart = process_of(scenario, &world.random) - process_of(scenario, &world.random);
        sequence_prepared(&sequence, (uint64_t)(scenario->prepare_s * (double)NS_PER_S),
                          ROUND_S * (double)NS_PER_S);
        world.blocks = 0;
        run_start(&world, expm1(log1p(effect) + apart), &sequence);
    }
    take(&sequence, effect, tally);
}

void study_starts(const struct study_options *options)
{
    printf(
        "\nAt most 20 starts, threshold 1 %%, 60 s: %% FASTER / SLOWER / SAME / UNDECIDED, "
        "coverage "
        "in %%, @ mean starts, mean s with preparing (%% decided within a fifth of the time)\n\n");
    print_head("machine", start_effects, ARRAY_COUNT(start_effects));
    for (size_t k = 0; k < ARRAY_COUNT(scenarios); k++) {
        printf("| %s |", scenarios[k].name);
        for (size_t e = 0; e < ARRAY_COUNT(start_effects); e++) {
            struct tally tally = {0};
            uint64_t key = random_key(random_key(random_key(options->seed, 11), k), e);
            for (size_t i = 0; i < options->series_count; i++)
                study_scenario(&scenarios[k], start_effects[e], random_key(key, i), &tally);
            double count = (double)options->series_count;
            print_outcomes(&tally, 100 / count);
            printf(" @%.1f, %.0f s (%.0f) |", tally.starts_sum / count, tally.seconds_sum / count,
                   100 * (double)tally.early_count / count);
        }
        printf("\n");
        (void)fflush(stdout);
    }
}
