/* What a comparison of two sides in interleaved rounds decides, with no difference and with one, in
 * one start and in several; and how often drift is seen where there is none and where there is
 * some. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "base/status.h"
#include "measure/compare.h"
#include "measure/drift.h"
#include "statistics_study.h"
#include "study_series.h"

#define ROUNDS_MAX  200
#define THRESHOLD   0.01
#define CONFIDENCE  0.95
#define OUTCOMES    4
#define SAMPLES_MAX 1000
#define STARTS_MIN  5
#define STARTS_MAX  10    /* as many as --max-time has room for, at least */
#define START_SD    0.001 /* of a start's median: what its rounds leave open */

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
static const double effects[] = {0, 0.005, 0.01, 0.02, 0.03};
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

struct compare_tally {
    size_t outcomes[OUTCOMES];
    size_t covered;
    size_t known;
    double rounds_sum;
};

/* Rounds until two looks in a row are precise, or to the cap. */
static void study_pair(struct world *world, double effect, struct compare_tally *tally)
{
    const struct compare_limits limits = {log1p(THRESHOLD), 0};
    double rounds[ROUNDS_MAX];
    struct compare_result result = {0};
    size_t precise = 0;
    size_t count = 0;
    for (size_t look = compare_look_after(0); precise < 2 && count < ROUNDS_MAX;
         look = compare_look_after(look)) {
        size_t end = look < ROUNDS_MAX ? look : ROUNDS_MAX;
        for (; count < end; count++)
            rounds[count] = next_round(world, count, effect);
        if (compare_rounds(rounds, count, &limits, CONFIDENCE, &result, NULL) != STATUS_OK)
            exit(1);
        precise = result.is_precise ? precise + 1 : 0;
    }
    tally->outcomes[result.outcome]++;
    tally->rounds_sum += (double)count;
    tally->known += result.log_ratio_ci.is_known;
    double truth = log1p(effect);
    tally->covered += result.log_ratio_ci.is_known && result.log_ratio_ci.low <= truth &&
                      truth <= result.log_ratio_ci.high;
}

static void study_outcomes(const struct study_options *options)
{
    printf("\nSide by side, threshold 1 %%, at most %d rounds: %% FASTER / SLOWER / SAME / "
           "UNDECIDED, coverage of the interval in %%, @ mean rounds\n\n| machine |",
           ROUNDS_MAX);
    for (size_t e = 0; e < ARRAY_COUNT(effects); e++)
        printf(" B takes +%g %% |", 100 * effects[e]);
    printf("\n| --- | --- | --- | --- | --- | --- |\n");
    for (size_t m = 0; m < ARRAY_COUNT(machines); m++) {
        printf("| %s |", machines[m].name);
        for (size_t e = 0; e < ARRAY_COUNT(effects); e++) {
            struct compare_tally tally = {0};
            uint64_t key = random_key(random_key(random_key(options->seed, 9), m), e);
            for (size_t i = 0; i < options->series_count; i++) {
                struct world world = {.machine = &machines[m], .random = {random_key(key, i), 0}};
                world.slow = study_gauss(&world.random);
                study_pair(&world, effects[e], &tally);
            }
            double scale = 100 / (double)options->series_count;
            printf(" %.1f / %.1f / %.1f / %.1f, %.1f @%.0f |",
                   scale * (double)tally.outcomes[COMPARE_FASTER],
                   scale * (double)tally.outcomes[COMPARE_SLOWER],
                   scale * (double)tally.outcomes[COMPARE_SAME],
                   scale * (double)tally.outcomes[COMPARE_UNDECIDED],
                   100 * (double)tally.covered / (double)tally.known,
                   tally.rounds_sum / (double)options->series_count);
        }
        printf("\n");
    }
}

/* --- starts --- */

/* How much two processes of one program differ, as a log ratio. */
struct processes {
    const char *name;
    double sd;
    bool has_two_kinds; /* either of two layouts, 2 sd apart, and nothing between */
};

static double next_start(struct study_random *random, const struct processes *processes,
                         double effect)
{
    double own =
        processes->has_two_kinds ? (study_uniform(random) < 0.5 ? -1 : 1) : study_gauss(random);
    return log1p(effect) + processes->sd * own + START_SD * study_gauss(random);
}

/* By the rule of drive/pair.c; or of one start, whose interval is that of its rounds. */
static void study_starts_of(struct study_random *random, const struct processes *processes,
                            double effect, bool is_single, struct compare_tally *tally)
{
    double starts[STARTS_MAX];
    size_t count = 0;
    const struct compare_limits limits = {log1p(THRESHOLD), 0};
    struct compare_result result = {0};
    double truth = log1p(effect);
    if (is_single) {
        double median = next_start(random, processes, effect);
        result.log_ratio_ci =
            (struct measure_interval){true, median - 1.96 * START_SD, median + 1.96 * START_SD};
        result.outcome = compare_decide(result.log_ratio_ci, &limits);
        count = 1;
    }
    while (!is_single && count < STARTS_MAX && !result.is_precise) {
        size_t look = compare_start_look_after(STARTS_MIN, count);
        while (count < look && count < STARTS_MAX)
            starts[count++] = next_start(random, processes, effect);
        compare_starts(starts, count, &limits, CONFIDENCE, &result);
    }
    tally->outcomes[result.outcome]++;
    tally->rounds_sum += (double)count;
    tally->covered += result.log_ratio_ci.low <= truth && truth <= result.log_ratio_ci.high;
}

void study_starts(const struct study_options *options)
{
    static const struct processes kinds[] = {
        {"alike within 0.1 %", 0, false},
        {"0.5 % apart", 0.005, false},
        {"1 % apart", 0.01, false},
        {"2 % apart", 0.02, false},
        {"two layouts, 1 % from their mean", 0.01, true},
    };
    printf(
        "\nStarts, threshold 1 %%: %% FASTER / SLOWER / SAME / UNDECIDED, coverage in %%, @ mean "
        "starts\n\n| processes | starts |");
    for (size_t e = 0; e < ARRAY_COUNT(effects); e++)
        printf(" B takes +%g %% |", 100 * effects[e]);
    printf("\n| --- | --- | --- | --- | --- | --- | --- |\n");
    for (size_t k = 0; k < 2 * ARRAY_COUNT(kinds); k++) {
        bool is_single = k % 2 == 0;
        printf("| %s | %s |", kinds[k / 2].name, is_single ? "1" : "5 to 10");
        for (size_t e = 0; e < ARRAY_COUNT(effects); e++) {
            struct compare_tally tally = {0};
            uint64_t key = random_key(random_key(random_key(options->seed, 11), k), e);
            for (size_t i = 0; i < options->series_count; i++) {
                struct study_random random = {random_key(key, i), 0};
                study_starts_of(&random, &kinds[k / 2], effects[e], is_single, &tally);
            }
            double scale = 100 / (double)options->series_count;
            printf(" %.1f / %.1f / %.1f / %.1f, %.1f @%.1f |",
                   scale * (double)tally.outcomes[COMPARE_FASTER],
                   scale * (double)tally.outcomes[COMPARE_SLOWER],
                   scale * (double)tally.outcomes[COMPARE_SAME],
                   scale * (double)tally.outcomes[COMPARE_UNDECIDED], scale * (double)tally.covered,
                   tally.rounds_sum / (double)options->series_count);
        }
        printf("\n");
    }
}

static void study_drift(const struct study_options *options)
{
    /* As the others, but everything a fifth as large: noise of 1 %. */
    static const char *const quiet = "noise 1 %";
    static const struct study_kind kinds[] = {
        {"normal, independent", STUDY_NORMAL, 0, 0, STUDY_FLAT, 0},
        {"lognormal, independent", STUDY_LOGNORMAL, 0, 0, STUDY_FLAT, 0},
        {"AR(1) 0.6", STUDY_NORMAL, 0.6, 0, STUDY_FLAT, 0},
        {"AR(1) 0.9", STUDY_NORMAL, 0.9, 0, STUDY_FLAT, 0},
        {"two modes, kept with 0.8", STUDY_BIMODAL, 0.8, 0, STUDY_FLAT, 0},
        {"linear drift, 4 %", STUDY_NORMAL, 0, 0, STUDY_LINEAR, 0.04},
        {"linear drift, 10 %", STUDY_NORMAL, 0, 0, STUDY_LINEAR, 0.1},
        {"step of 5 % at half", STUDY_NORMAL, 0, 0, STUDY_STEP, 0.05},
        {"ramp from +50 %", STUDY_NORMAL, 0, 0, STUDY_RAMP, 0.5},
        {"linear drift, 5 %, noise 1 %", STUDY_NORMAL, 0, 0, STUDY_LINEAR, 0.25},
        {"linear drift, 5 %, AR(1) 0.6, noise 1 %", STUDY_NORMAL, 0.6, 0, STUDY_LINEAR, 0.25},
        {"step of 3 % at half, noise 1 %", STUDY_NORMAL, 0, 0, STUDY_STEP, 0.15},
    };
    static const size_t counts[] = {30, 100, 200, 300, 1000};
    printf("\nDrift beyond 1 %% said / samples too correlated for an interval, %% of series\n\n"
           "| series | n = 30 | n = 100 | n = 200 | n = 300 | n = 1000 |\n"
           "| --- | --- | --- | --- | --- | --- |\n");
    for (size_t k = 0; k < ARRAY_COUNT(kinds); k++) {
        printf("| %s |", kinds[k].name);
        for (size_t n = 0; n < ARRAY_COUNT(counts); n++) {
            size_t drifted = 0;
            size_t correlated = 0;
            uint64_t key = random_key(random_key(random_key(options->seed, 10), k), n);
            for (size_t i = 0; i < options->series_count; i++) {
                double samples[SAMPLES_MAX];
                struct drift drift;
                struct interval_quantile median;
                struct study_random random = {random_key(key, i), 0};
                study_series_make(&kinds[k], &random, counts[n], samples);
                for (size_t s = 0; strstr(kinds[k].name, quiet) != NULL && s < counts[n]; s++)
                    samples[s] = 1 + (samples[s] - 1) / 5;
                if (drift_of(samples, counts[n], 1, &drift, NULL) != STATUS_OK ||
                    interval_of_median(samples, counts[n], 0.95, &median, NULL) != STATUS_OK)
                    exit(1);
                drifted += drift.has_drifted;
                correlated += !median.two_sided.is_known;
            }
            double scale = 100 / (double)options->series_count;
            printf(" %.1f / %.1f |", scale * (double)drifted, scale * (double)correlated);
        }
        printf("\n");
    }
}

void study_compare(const struct study_options *options)
{
    study_outcomes(options);
    study_drift(options);
}
