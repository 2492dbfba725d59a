/* bench/study_next_run.c - does the interval that a run prints hold the next run's median? Four
 * cells a machine, measured in turn 24 times from an empty memory on, as a user would. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/random.h"
#include "base/status.h"
#include "measure/next_run.h"
#include "measure/quantile.h"
#include "statistics_study.h"
#include "study_series.h"

#define CONFIDENCE  0.95
#define CELLS_COUNT 4
#define OTHERS_MOST 8
#define RUNS_COUNT  24
#define PAIRS_COUNT (RUNS_COUNT - 1)
#define CELLS_APART 0.5 /* standard deviation of ln(a cell's sd / the machine's) */
#define SEEN_SHARE  0.8 /* of busy neighbours, by the harness */

/* How runs differ on a machine, all on the logarithms. */
struct machine {
    const char *name;
    double own;        /* what the samples of a run leave open */
    double normal;     /* between runs */
    double skewed;     /* the same, log-normal with sigma 1: now and then a slow one */
    double slow_share; /* of runs at a second level, 62 against 53 ms */
    double stay;       /* chance that a run finds the level of the one before by that alone */
    double busy_most;  /* not 0: such runs take 1.2 to so many times as long, and the harness sees
                          four of five of them as disturbed */
};

static const struct machine machines[] = {
    {"runs alike, own interval +-0.6 %", 0.003, 0, 0, 0, 0, 0},
    {"0.3 % apart", 0.003, 0.003, 0, 0, 0, 0},
    {"1 % apart", 0.003, 0.01, 0, 0, 0, 0},
    {"3 % apart", 0.003, 0.03, 0, 0, 0, 0},
    {"skewed, 1 %", 0.003, 0, 0.01, 0, 0, 0},
    {"53 or 62 ms, half of the time each, new each run", 0.003, 0.01, 0, 0.5, 0, 0},
    {"53 or 62 ms, one run of ten, new each run", 0.003, 0.01, 0, 0.1, 0, 0},
    {"53 or 62 ms, for 2 runs on end", 0.003, 0.01, 0, 0.5, 0.5, 0},
    {"53 or 62 ms, for 5 runs on end", 0.003, 0.01, 0, 0.5, 0.8, 0},
    {"53 or 62 ms, for 20 runs on end", 0.003, 0.01, 0, 0.5, 0.95, 0},
    {"one run of ten beside a neighbour, up to twice as long", 0.003, 0.01, 0, 0.1, 0, 2},
    {"one of three, up to thrice as long", 0.003, 0.01, 0, 1.0 / 3, 0, 3},
    {"the same, for 5 runs on end", 0.003, 0.01, 0, 1.0 / 3, 0.8, 3},
};

/* Of a cell. */
struct runs {
    struct measure_reading readings[RUNS_COUNT];
    bool are_disturbed[RUNS_COUNT];
};

/* Runs 1, 2, 3, 4 to 6 and so on; the last is all but the first. */
static const size_t parts[][2] = {
    {0, 1}, {1, 2}, {2, 3}, {3, 6}, {6, 12}, {12, PAIRS_COUNT}, {1, PAIRS_COUNT}, {0, PAIRS_COUNT}};

struct tally {
    size_t held[PAIRS_COUNT];
    double *widths[PAIRS_COUNT]; /* of every sequence's, in % */
    size_t count;                /* of sequences, of one cell each */
};

static void make_runs(const struct machine *machine, struct study_random *random,
                      struct runs *ret_runs)
{
    double factor = exp(CELLS_APART * study_gauss(random));
    bool is_slow = study_uniform(random) < machine->slow_share;
    for (size_t i = 0; i < RUNS_COUNT; i++) {
        if (study_uniform(random) >= machine->stay)
            is_slow = study_uniform(random) < machine->slow_share;
        double state = factor * machine->normal * study_gauss(random) +
                       factor * machine->skewed * exp(study_gauss(random)) +
                       machine->own * study_gauss(random);
        double slower = is_slow ? 62.0 / 53 : 1;
        if (is_slow && machine->busy_most > 0)
            slower = 1.2 + (machine->busy_most - 1.2) * study_uniform(random);
        double median = 53 * slower * exp(state);
        double half = 1.96 * machine->own;
        ret_runs->are_disturbed[i] =
            is_slow && machine->busy_most > 0 && study_uniform(random) < SEEN_SHARE;
        ret_runs->readings[i] = (struct measure_reading){
            .median = median, .median_95 = {true, median * exp(-half), median * exp(half)}};
    }
}

/* How many of the newest before number `end` count. */
static size_t newest_count(size_t end)
{
    return end < NEXT_RUN_RUNS_MAX ? end : NEXT_RUN_RUNS_MAX;
}

static struct next_run_prior prior_of(const struct runs *others, const size_t *ends, size_t count,
                                      double weight, bool are_undisturbed)
{
    struct next_run_spread spreads[OTHERS_MOST];
    size_t spreads_count = 0;
    for (size_t other = 0; other < count; other++) {
        struct measure_reading kept[NEXT_RUN_RUNS_MAX];
        size_t kept_count = 0;
        for (size_t i = ends[other] - newest_count(ends[other]); i < ends[other]; i++)
            if (!are_undisturbed || !others[other].are_disturbed[i])
                kept[kept_count++] = others[other].readings[i];
        if (kept_count >= 2)
            spreads[spreads_count++] = next_run_spread_of(kept, kept_count, weight);
    }
    return next_run_prior_of(spreads, spreads_count);
}

static struct next_run next_by(const struct runs *own, size_t end, const struct runs *others,
                               const size_t *ends, size_t others_count, double weight)
{
    const struct next_run_priors priors = {prior_of(others, ends, others_count, weight, false),
                                           prior_of(others, ends, others_count, weight, true)};
    size_t first = end - newest_count(end);
    return next_run_of(own->readings + first, own->are_disturbed + first, end - first, false,
                       priors, CONFIDENCE);
}

/* The cells are measured in turn: those before it have one run more. */
static struct next_run next_of(const struct runs cells[CELLS_COUNT], size_t cell, size_t run)
{
    size_t ends[CELLS_COUNT];
    for (size_t other = 0; other < CELLS_COUNT; other++)
        ends[other] = other == cell ? 0 : other < cell ? run + 1 : run;
    return next_by(&cells[cell], run + 1, cells, ends, CELLS_COUNT, NEXT_RUN_DEVICE_WEIGHT);
}

static void take_sequence(const struct machine *machine, struct study_random *random,
                          struct tally *tally)
{
    struct runs cells[CELLS_COUNT];
    for (size_t cell = 0; cell < CELLS_COUNT; cell++)
        make_runs(machine, random, &cells[cell]);
    for (size_t cell = 0; cell < CELLS_COUNT; cell++, tally->count++) {
        for (size_t run = 0; run < PAIRS_COUNT; run++) {
            struct measure_interval interval = next_of(cells, cell, run).interval;
            double median = cells[cell].readings[run + 1].median;
            tally->held[run] += interval.low <= median && median <= interval.high;
            tally->widths[run][tally->count] = 100 * (interval.high / interval.low - 1);
        }
    }
}

static void print_row(const struct machine *machine, struct tally *tally)
{
    printf("| %s |", machine->name);
    for (size_t p = 0; p < ARRAY_COUNT(parts); p++) {
        size_t held = 0;
        for (size_t run = parts[p][0]; run < parts[p][1]; run++)
            held += tally->held[run];
        double pairs = (double)(tally->count * (parts[p][1] - parts[p][0]));
        printf(" %.1f |", 100 * (double)held / pairs);
    }
    static const size_t shown[] = {0, 1, 2, 5, 22};
    for (size_t i = 0; i < ARRAY_COUNT(shown); i++) {
        quantile_sort(tally->widths[shown[i]], tally->count);
        printf(" %.1f%s", quantile_median(tally->widths[shown[i]], tally->count),
               i + 1 < ARRAY_COUNT(shown) ? " /" : " |\n");
    }
}

/* First runs of few samples: their distribution is all that is known of the machine. */
#define FEW_MOST 5

static double few_sample(unsigned kind, struct study_random *random)
{
    static const double levels[] = {1, 1.15};
    double normal = study_gauss(random);
    if (kind == 0)
        return exp(0.03 * normal);
    if (kind == 1)
        return 1 + 0.03 * exp(normal);
    return levels[study_uniform(random) < 0.3] * exp(0.01 * normal);
}

static struct measure_reading few_samples(unsigned kind, size_t count, struct study_random *random)
{
    double samples[FEW_MOST];
    for (size_t i = 0; i < count; i++)
        samples[i] = few_sample(kind, random);
    quantile_sort(samples, count);
    return (struct measure_reading){.median = quantile_median(samples, count),
                                    .extremes = {samples[0], samples[count - 1], (double)count}};
}

static void print_few(unsigned kind, const char *name, const struct study_options *options)
{
    const struct next_run_priors none = {0};
    printf("| %s |", name);
    for (size_t count = 3; count <= FEW_MOST; count++) {
        struct study_random random = {random_key(random_key(options->seed, 15 + kind), count), 0};
        size_t held = 0;
        size_t pairs = options->series_count * 100;
        for (size_t i = 0; i < pairs; i++) {
            struct measure_reading run = few_samples(kind, count, &random);
            double median = few_samples(kind, count, &random).median;
            struct measure_interval next =
                next_run_of(&run, NULL, 1, false, none, CONFIDENCE).interval;
            held += next.low <= median && median <= next.high;
        }
        printf(" %.1f |", 100 * (double)held / (double)pairs);
    }
    putchar('\n');
}

static void study_few(const struct study_options *options)
{
    static const char *const names[] = {"normal, 3 %", "skewed, 3 %",
                                        "15 % slower in 3 of 10, and 1 %"};
    printf("\nThe same of first runs of few samples, %% of runs\n\n"
           "| samples are | 3 of them | 4 | 5 |\n| --- | --- | --- | --- |\n");
    for (unsigned kind = 0; kind < ARRAY_COUNT(names); kind++)
        print_few(kind, names[kind], options);
}

/* A first run on a machine that other cells of its kind are known of. */
static const struct {
    size_t cells_count, runs_count;
} known_cells[] = {{1, 2}, {2, 2}, {4, 2}, {8, 3}};

#define KNOWN_TAKES 4 /* a sequence of the options */

static void print_known(const struct machine *machine, const struct study_options *options)
{
    printf("| %s |", machine->name);
    for (size_t k = 0; k < ARRAY_COUNT(known_cells); k++) {
        struct study_random random = {random_key(random_key(options->seed, 16), k), 0};
        size_t pairs = options->series_count * KNOWN_TAKES;
        double *highs = calloc(pairs, sizeof(double));
        size_t held = 0;
        if (highs == NULL)
            exit(1);
        for (size_t i = 0; i < pairs; i++) {
            struct runs others[OTHERS_MOST];
            struct runs own;
            size_t ends[OTHERS_MOST];
            for (size_t cell = 0; cell < known_cells[k].cells_count; cell++) {
                make_runs(machine, &random, &others[cell]);
                ends[cell] = known_cells[k].runs_count;
            }
            make_runs(machine, &random, &own);
            struct measure_interval next =
                next_by(&own, 1, others, ends, known_cells[k].cells_count, 1).interval;
            held += next.low <= own.readings[1].median && own.readings[1].median <= next.high;
            highs[i] = 100 * (next.high / own.readings[0].median - 1);
        }
        quantile_sort(highs, pairs);
        printf(" %.1f; +%.0f, +%.0f |", 100 * (double)held / (double)pairs,
               quantile_median(highs, pairs), highs[pairs - 1 - pairs / 20]);
        free(highs);
    }
    putchar('\n');
}

static void study_known(const struct study_options *options)
{
    printf("\nThe same of a first run where other cells of its kind have been measured, and its "
           "high end in %%: median and 95 of 100\n\n| machine |");
    for (size_t k = 0; k < ARRAY_COUNT(known_cells); k++)
        printf(" %zu cell%s, %zu runs |", known_cells[k].cells_count,
               known_cells[k].cells_count == 1 ? "" : "s", known_cells[k].runs_count);
    printf("\n| --- | --- | --- | --- | --- |\n");
    for (size_t m = 0; m < ARRAY_COUNT(machines); m++)
        print_known(&machines[m], options);
}

void study_next_run(const struct study_options *options)
{
    printf(
        "\nIntervals that hold the next run's median, %% of runs, and their median width in %%\n\n"
        "| machine | run 1 | 2 | 3 | 4 to 6 | 7 to 12 | 13 to 23 | all but the first | all | "
        "width at run 1 / 2 / 3 / 6 / 23 |\n"
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n");
    for (size_t m = 0; m < ARRAY_COUNT(machines); m++) {
        struct study_random random = {random_key(random_key(options->seed, 14), m), 0};
        struct tally tally = {0};
        for (size_t run = 0; run < PAIRS_COUNT; run++) {
            tally.widths[run] = calloc(options->series_count * CELLS_COUNT, sizeof(double));
            if (tally.widths[run] == NULL)
                exit(1);
        }
        for (size_t i = 0; i < options->series_count; i++)
            take_sequence(&machines[m], &random, &tally);
        print_row(&machines[m], &tally);
        for (size_t run = 0; run < PAIRS_COUNT; run++)
            free(tally.widths[run]);
    }
    study_known(options);
    study_few(options);
}
