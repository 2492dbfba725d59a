/* The simulation study of docs/studies.md: how often the intervals of measure/ hold the truth,
 * how warm-up rules err, what looking again and again costs, and what side by side decides.
 *
 *     build/bench/statistics_study [PART [SERIES [SEED]]]
 *
 * PART is intervals, warmup, stop, compare, drift, starts, next, gate, interference or all; SERIES
 * made-up series a cell of a table (default 2000), from SEED. Same seed, same tables.
 */
#include "statistics_study.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "measure/interval.h"
#include "measure/quantile.h"
#include "measure/series.h"
#include "study_series.h"

#define CONFIDENCE 0.95
#define COUNT_MAX  2000

/* clang-format off */
static const struct study_kind kinds[] = {
    {"normal, independent",          STUDY_NORMAL,    0,   0,   STUDY_FLAT, 0},
    {"lognormal, independent",       STUDY_LOGNORMAL, 0,   0,   STUDY_FLAT, 0},
    {"heavy tail, independent",      STUDY_PARETO,    0,   0,   STUDY_FLAT, 0},
    {"two modes, independent",       STUDY_BIMODAL,   0,   0,   STUDY_FLAT, 0},
    {"3 % outliers",                 STUDY_OUTLIERS,  0,   0,   STUDY_FLAT, 0},
    {"coarse clock",                 STUDY_TIED,      0,   0,   STUDY_FLAT, 0},
    {"AR(1) 0.3",                    STUDY_NORMAL,    0.3, 0,   STUDY_FLAT, 0},
    {"AR(1) 0.6",                    STUDY_NORMAL,    0.6, 0,   STUDY_FLAT, 0},
    {"AR(1) 0.9",                    STUDY_NORMAL,    0.9, 0,   STUDY_FLAT, 0},
    {"AR(1) -0.5",                   STUDY_NORMAL,   -0.5, 0,   STUDY_FLAT, 0},
    {"AR(1) 0.6, lognormal",         STUDY_LOGNORMAL, 0.6, 0,   STUDY_FLAT, 0},
    {"AR(1) 0.6, heavy tail",        STUDY_PARETO,    0.6, 0,   STUDY_FLAT, 0},
    {"AR(1) 0.9 under as much noise",STUDY_NORMAL,    0.9, 0.5, STUDY_FLAT, 0},
    {"two modes, kept with 0.8",     STUDY_BIMODAL,   0.8, 0,   STUDY_FLAT, 0},
    {"outliers in bursts (0.8)",     STUDY_OUTLIERS,  0.8, 0,   STUDY_FLAT, 0},
    {"linear drift, 10 %",           STUDY_NORMAL,    0,   0,   STUDY_LINEAR, 0.1},
    {"step of 10 % at half",         STUDY_NORMAL,    0,   0,   STUDY_STEP, 0.1},
    {"ramp from +50 %",              STUDY_NORMAL,    0,   0,   STUDY_RAMP, 0.5},
    {"oscillation of 5 %",           STUDY_NORMAL,    0,   0,   STUDY_OSCILLATION, 0.05},
};
/* clang-format on */
static const size_t counts[] = {30, 60, 100, 200, 500, 1000, 2000};

enum estimator { MEDIAN, P90, UPPER_P90, UPPER_P99, MEAN, NAIVE_MEDIAN, ESTIMATOR_COUNT };

struct tally {
    size_t known;
    size_t covered;
    double width_sum;
    double effective_sum;
};

static void take(struct tally *tally, struct measure_interval interval, double truth,
                 double effective_count)
{
    tally->effective_sum += effective_count;
    if (!interval.is_known)
        return;
    tally->known++;
    tally->covered += interval.low <= truth && truth <= interval.high;
    tally->width_sum += interval.high - interval.low;
}

static void take_quantile(struct tally *two_sided, struct tally *upper, const double *samples,
                          const double *sorted, size_t count, double q, double truth)
{
    struct interval_quantile found;
    if (interval_of_quantile(samples, sorted, count, q, CONFIDENCE, &found, NULL) != STATUS_OK)
        exit(1);
    if (two_sided != NULL)
        take(two_sided, found.two_sided, truth, found.effective_count);
    if (upper != NULL)
        take(upper, (struct measure_interval){found.upper.is_known, 0, found.upper.value}, truth,
             found.effective_count);
}

/* The exact interval of independent samples, for comparison. */
static void take_naive(struct tally *tally, const double *sorted, size_t count, double truth)
{
    size_t low = 0;
    while (quantile_binomial_cdf(low, count, 0.5) <= (1 - CONFIDENCE) / 2)
        low++;
    if (low > 0)
        take(tally, (struct measure_interval){true, sorted[low - 1], sorted[count - low]}, truth,
             (double)count);
}

static void study_cell(const struct study_options *options, size_t kind_index, size_t count,
                       struct tally tallies[ESTIMATOR_COUNT])
{
    const struct study_kind *kind = &kinds[kind_index];
    double median = study_true_quantile(kind, count, 0.5);
    double p90 = study_true_quantile(kind, count, 0.9);
    double p99 = study_true_quantile(kind, count, 0.99);
    double mean = study_true_mean(kind, count);
    uint64_t key = random_key(random_key(options->seed, kind_index), count);
    for (size_t i = 0; i < options->series_count; i++) {
        double samples[COUNT_MAX];
        double sorted[COUNT_MAX];
        struct study_random random = {random_key(key, i), 0};
        study_series_make(kind, &random, count, samples);
        memcpy(sorted, samples, count * sizeof(sorted[0]));
        quantile_sort(sorted, count);
        take_quantile(&tallies[MEDIAN], NULL, samples, sorted, count, 0.5, median);
        take_naive(&tallies[NAIVE_MEDIAN], sorted, count, median);
        take_quantile(&tallies[P90], &tallies[UPPER_P90], samples, sorted, count, 0.9, p90);
        take_quantile(NULL, &tallies[UPPER_P99], samples, sorted, count, 0.99, p99);
        struct interval_mean found;
        double rho = 0;
        if (series_score_lag1(samples, count, &rho, NULL) != STATUS_OK ||
            interval_of_mean(samples, count, rho, CONFIDENCE, &found, NULL) != STATUS_OK)
            exit(1);
        take(&tallies[MEAN], found.two_sided, mean, found.effective_count);
    }
}

static void print_tally(const struct tally *tally, size_t series_count)
{
    double known = 100 * (double)tally->known / (double)series_count;
    if (known < 5) {
        printf(" - |");
        return;
    }
    double covered = 100 * (double)tally->covered / (double)tally->known;
    if (known < 99.5)
        printf(" %.1f (%.0f) |", covered, known);
    else
        printf(" %.1f |", covered);
}

static void print_head(const char *title)
{
    printf("\n%s\n\n| series | ", title);
    for (size_t i = 0; i < ARRAY_COUNT(counts); i++)
        printf("n = %zu | ", counts[i]);
    printf("\n| --- |");
    for (size_t i = 0; i < ARRAY_COUNT(counts); i++)
        printf(" --- |");
    printf("\n");
}

void study_intervals(const struct study_options *options)
{
    static const char *const titles[ESTIMATOR_COUNT] = {
        "Median: coverage of the 95 % interval in % (in brackets: share of series with one)",
        "p90: coverage of the two-sided 95 % interval",
        "p90: coverage of the one-sided 95 % bound",
        "p99: coverage of the one-sided 95 % bound",
        "Mean: coverage of the 95 % interval by batch means",
        "Median, were the samples taken as independent: coverage of the exact 95 % interval"};
    struct tally(*tallies)[ARRAY_COUNT(counts)][ESTIMATOR_COUNT] =
        calloc(ARRAY_COUNT(kinds), sizeof(*tallies));
    if (tallies == NULL)
        exit(1);
    for (size_t k = 0; k < ARRAY_COUNT(kinds); k++)
        for (size_t n = 0; n < ARRAY_COUNT(counts); n++)
            study_cell(options, k, counts[n], tallies[k][n]);
    for (int e = 0; e < ESTIMATOR_COUNT; e++) {
        print_head(titles[e]);
        for (size_t k = 0; k < ARRAY_COUNT(kinds); k++) {
            printf("| %s |", kinds[k].name);
            for (size_t n = 0; n < ARRAY_COUNT(counts); n++)
                print_tally(&tallies[k][n][e], options->series_count);
            printf("\n");
        }
    }
    print_head("Median: mean effective n");
    for (size_t k = 0; k < ARRAY_COUNT(kinds); k++) {
        printf("| %s |", kinds[k].name);
        for (size_t n = 0; n < ARRAY_COUNT(counts); n++)
            printf(" %.0f |", tallies[k][n][MEDIAN].effective_sum / (double)options->series_count);
        printf("\n");
    }
    free(tallies);
}

static const struct {
    const char *name;
    void (*run)(const struct study_options *options);
} parts[] = {
    {"intervals", study_intervals}, {"warmup", study_warmup}, {"stop", study_stop},
    {"compare", study_compare},     {"drift", study_drift},   {"starts", study_starts},
    {"next", study_next_run},       {"gate", study_gate},     {"interference", study_interference}};

int main(int argc, char **argv)
{
    struct study_options options = {
        .series_count = 2000, .seed = 20, .recorded_dir = TOKMARK_BENCH_DATA_DIR};
    const char *wished = argc > 1 ? argv[1] : "all";
    if (argc > 2)
        options.series_count = strtoul(argv[2], NULL, 10);
    if (argc > 3)
        options.seed = strtoull(argv[3], NULL, 10);
    bool is_known = false;
    for (size_t i = 0; i < ARRAY_COUNT(parts); i++) {
        if (strcmp(wished, "all") != 0 && strcmp(wished, parts[i].name) != 0)
            continue;
        is_known = true;
        parts[i].run(&options);
        (void)fflush(stdout);
    }
    if (!is_known || options.series_count == 0) {
        (void)fprintf(stderr,
                      "usage: statistics_study "
                      "[intervals|warmup|stop|compare|drift|starts|next|gate|interference|all] "
                      "[SERIES [SEED]]\n");
        return 2;
    }
    return 0;
}
