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
#define RUNS_COUNT  24
#define PAIRS_COUNT (RUNS_COUNT - 1)
#define CELLS_APART 0.5 /* standard deviation of ln(a cell's sd / the machine's) */

/* How runs differ on a machine, all on the logarithms. */
struct machine {
    const char *name;
    double own;        /* what the samples of a run leave open */
    double normal;     /* between runs */
    double skewed;     /* the same, log-normal with sigma 1: now and then a slow one */
    double slow_share; /* of runs at a second level, 62 against 53 ms */
    double stay;       /* chance that a run finds the level of the one before by that alone */
};

static const struct machine machines[] = {
    {"runs alike, own interval +-0.6 %", 0.003, 0, 0, 0, 0},
    {"0.3 % apart", 0.003, 0.003, 0, 0, 0},
    {"1 % apart", 0.003, 0.01, 0, 0, 0},
    {"3 % apart", 0.003, 0.03, 0, 0, 0},
    {"skewed, 1 %", 0.003, 0, 0.01, 0, 0},
    {"53 or 62 ms, half of the time each, new each run", 0.003, 0.01, 0, 0.5, 0},
    {"53 or 62 ms, one run of ten, new each run", 0.003, 0.01, 0, 0.1, 0},
    {"53 or 62 ms, for 2 runs on end", 0.003, 0.01, 0, 0.5, 0.5},
    {"53 or 62 ms, for 5 runs on end", 0.003, 0.01, 0, 0.5, 0.8},
    {"53 or 62 ms, for 20 runs on end", 0.003, 0.01, 0, 0.5, 0.95},
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
                      struct measure_reading runs[RUNS_COUNT])
{
    double factor = exp(CELLS_APART * study_gauss(random));
    bool is_slow = study_uniform(random) < machine->slow_share;
    for (size_t i = 0; i < RUNS_COUNT; i++) {
        if (study_uniform(random) >= machine->stay)
            is_slow = study_uniform(random) < machine->slow_share;
        double state = factor * machine->normal * study_gauss(random) +
                       factor * machine->skewed * exp(study_gauss(random)) +
                       machine->own * study_gauss(random);
        double median = (is_slow ? 62 : 53) * exp(state);
        double half = 1.96 * machine->own;
        runs[i] = (struct measure_reading){
            .median = median, .median_95 = {true, median * exp(-half), median * exp(half)}};
    }
}

/* The newest of `runs` before number `end`. */
static const struct measure_reading *newest(const struct measure_reading *runs, size_t end,
                                            size_t *ret_count)
{
    size_t first = end > NEXT_RUN_RUNS_MAX ? end - NEXT_RUN_RUNS_MAX : 0;
    *ret_count = end - first;
    return runs + first;
}

static struct next_run next_of(struct measure_reading cells[CELLS_COUNT][RUNS_COUNT], size_t cell,
                               size_t run)
{
    struct next_run_spread spreads[CELLS_COUNT];
    size_t spreads_count = 0;
    size_t count = 0;
    for (size_t other = 0; other < CELLS_COUNT; other++) {
        const struct measure_reading *runs =
            newest(cells[other], other < cell ? run + 1 : run, &count);
        if (other != cell && count >= 2)
            spreads[spreads_count++] = next_run_spread_of(runs, count, NEXT_RUN_DEVICE_WEIGHT);
    }
    const struct measure_reading *own = newest(cells[cell], run + 1, &count);
    return next_run_of(own, NULL, count, false, next_run_prior_of(spreads, spreads_count),
                       CONFIDENCE);
}

static void take_sequence(const struct machine *machine, struct study_random *random,
                          struct tally *tally)
{
    struct measure_reading cells[CELLS_COUNT][RUNS_COUNT];
    for (size_t cell = 0; cell < CELLS_COUNT; cell++)
        make_runs(machine, random, cells[cell]);
    for (size_t cell = 0; cell < CELLS_COUNT; cell++, tally->count++) {
        for (size_t run = 0; run < PAIRS_COUNT; run++) {
            struct measure_interval interval = next_of(cells, cell, run).interval;
            double median = cells[cell][run + 1].median;
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
    const struct next_run_prior none = {0};
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
    study_few(options);
}
