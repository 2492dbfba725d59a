/* bench/study_history.c - how often runs are said to disagree, where they do and where they do not.
 */
#include <math.h>
#include <stdio.h>

#include "base/random.h"
#include "base/status.h"
#include "measure/history.h"
#include "statistics_study.h"
#include "study_series.h"

#define LIMIT_PERCENT 1.0

/* How the medians of runs come about: the machine's state, and what the samples leave open. */
struct runs {
    const char *name;
    double half_width;  /* of a run's own interval, 95 %, as a fraction */
    double spread;      /* standard deviation between runs */
    double level_share; /* of runs at a second level, 1.15 times as slow */
};

static double run_median(const struct runs *kind, struct study_random *random)
{
    double noise = study_gauss(random) * kind->half_width / 1.96;
    double state = study_gauss(random) * kind->spread;
    double level = study_uniform(random) < kind->level_share ? log(1.15) : 0;
    return exp(noise + state + level);
}

static bool is_said(const struct runs *kind, size_t earlier_count, struct study_random *random)
{
    struct measure_reading readings[HISTORY_RUNS_MAX + 1] = {0};
    for (size_t i = 0; i <= earlier_count; i++)
        readings[i].median = run_median(kind, random);
    return history_of(readings, earlier_count + 1, LIMIT_PERCENT).has_disagreed;
}

void study_history(const struct study_options *options)
{
    static const struct runs kinds[] = {
        {"alike; own interval +-1 %", 0.01, 0, 0},
        {"alike; +-0.5 %", 0.005, 0, 0},
        {"0.3 % apart; +-0.5 %", 0.005, 0.003, 0},
        {"0.5 % apart; +-0.5 %", 0.005, 0.005, 0},
        {"1 % apart; +-0.5 %", 0.005, 0.01, 0},
        {"2 % apart; +-0.5 %", 0.005, 0.02, 0},
        {"two levels, 15 %, one run of ten at the other", 0.005, 0.003, 0.1},
        {"two levels, 15 %, four of ten", 0.005, 0.003, 0.4},
    };
    static const size_t counts[] = {1, 2, 4, HISTORY_RUNS_MAX};
    printf("\nRuns said to disagree, %% (limit 1 %%), by how many earlier ones there are\n\n"
           "| runs |");
    for (size_t n = 0; n < ARRAY_COUNT(counts); n++)
        printf(" %zu earlier |", counts[n]);
    printf("\n| --- | --- | --- | --- | --- |\n");
    for (size_t k = 0; k < ARRAY_COUNT(kinds); k++) {
        printf("| %s |", kinds[k].name);
        for (size_t n = 0; n < ARRAY_COUNT(counts); n++) {
            size_t said = 0;
            uint64_t key = random_key(random_key(random_key(options->seed, 12), k), n);
            for (size_t i = 0; i < options->series_count; i++) {
                struct study_random random = {random_key(key, i), 0};
                said += is_said(&kinds[k], counts[n], &random);
            }
            printf(" %.1f |", 100 * (double)said / (double)options->series_count);
        }
        printf("\n");
    }
}
