/* What looking again and again costs: how often the interval of the median that a run stops with
 * holds the truth, when it is looked at only at n fixed beforehand, each 1.25 times the last. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "base/status.h"
#include "measure/interval.h"
#include "measure/quantile.h"
#include "statistics_study.h"
#include "study_series.h"

#define SAMPLES_MAX 3000
#define LOOKS_MAX   40

struct stop_rule {
    const char *name;
    double effective_min;  /* effective n that a stop needs */
    size_t looks_in_a_row; /* looks whose interval must be within the target, one after another */
    double comfort; /* relative to the target: an interval as narrow needs but effective n 10 */
    bool is_every_sample; /* looks at every n from 10 on, as a warning */
};

struct stop_case {
    struct study_kind kind;
    double target; /* half-width, relative */
};

/* clang-format off */
static const struct stop_rule rules[] = {
    {"every n from 10",            6,  1, 0,   true},
    {"effective n 6",              6,  1, 0,   false},
    {"effective n 10",             10, 1, 0,   false},
    {"effective n 20",             20, 1, 0,   false},
    {"effective n 10, two looks",  10, 2, 0,   false},
    {"effective n 20, two looks",  20, 2, 0,   false},
    {"20, or 10 and half the target; two looks", 20, 2, 0.5, false},
};
static const struct stop_case cases[] = {
    {{"normal 5 %, target 1 %",        STUDY_NORMAL,    0,   0,   STUDY_FLAT, 0}, 0.01},
    {{"normal 5 %, target 2 %",        STUDY_NORMAL,    0,   0,   STUDY_FLAT, 0}, 0.02},
    {{"normal 5 %, target 4 %",        STUDY_NORMAL,    0,   0,   STUDY_FLAT, 0}, 0.04},
    {{"normal 5 %, target 10 %",       STUDY_NORMAL,    0,   0,   STUDY_FLAT, 0}, 0.1},
    {{"lognormal, target 5 %",         STUDY_LOGNORMAL, 0,   0,   STUDY_FLAT, 0}, 0.05},
    {{"heavy tail, target 1 %",        STUDY_PARETO,    0,   0,   STUDY_FLAT, 0}, 0.01},
    {{"3 % outliers, target 1 %",      STUDY_OUTLIERS,  0,   0,   STUDY_FLAT, 0}, 0.01},
    {{"two modes, target 1 %",         STUDY_BIMODAL,   0,   0,   STUDY_FLAT, 0}, 0.01},
    {{"AR(1) 0.3, target 1 %",         STUDY_NORMAL,    0.3, 0,   STUDY_FLAT, 0}, 0.01},
    {{"AR(1) 0.6, target 1 %",         STUDY_NORMAL,    0.6, 0,   STUDY_FLAT, 0}, 0.01},
    {{"AR(1) 0.6, target 2 %",         STUDY_NORMAL,    0.6, 0,   STUDY_FLAT, 0}, 0.02},
    {{"AR(1) 0.9, target 2 %",         STUDY_NORMAL,    0.9, 0,   STUDY_FLAT, 0}, 0.02},
    {{"AR(1) 0.9, target 4 %",         STUDY_NORMAL,    0.9, 0,   STUDY_FLAT, 0}, 0.04},
    {{"modes kept with 0.8, target 1 %", STUDY_BIMODAL, 0.8, 0,   STUDY_FLAT, 0}, 0.01},
};
/* clang-format on */

struct stop_tally {
    size_t stopped;
    size_t covered;
    double *counts; /* owned */
};

struct stop_look {
    size_t count;
    double side; /* wider one, relative; infinite where there is no interval */
    double effective_count;
    bool is_covered;
};

static struct stop_look look_at(const double *samples, size_t count, double truth)
{
    double sorted[SAMPLES_MAX];
    struct interval_quantile found;
    memcpy(sorted, samples, count * sizeof(sorted[0]));
    quantile_sort(sorted, count);
    if (interval_of_quantile(samples, sorted, count, 0.5, 0.95, &found, NULL) != STATUS_OK)
        exit(1);
    struct measure_interval interval = found.two_sided;
    struct stop_look look = {count, INFINITY, found.effective_count, false};
    if (interval.is_known) {
        look.side = fmax(interval.high - found.value, found.value - interval.low) / found.value;
        look.is_covered = interval.low <= truth && truth <= interval.high;
    }
    return look;
}

/* Feeds one look; true when the rule stops there. */
static bool stops(const struct stop_rule *rule, const struct stop_look *look, double target,
                  size_t *met)
{
    *met = look->side <= target ? *met + 1 : 0;
    return *met >= rule->looks_in_a_row &&
           (look->effective_count >= rule->effective_min ||
            (look->effective_count >= 10 && look->side <= rule->comfort * target));
}

static void tally_stop(struct stop_tally *tally, const struct stop_look *look)
{
    tally->counts[tally->stopped++] = (double)look->count;
    tally->covered += look->is_covered;
}

static void study_run(const double *samples, const struct stop_case *stop, double truth,
                      struct stop_tally tallies[ARRAY_COUNT(rules)])
{
    size_t met[ARRAY_COUNT(rules)] = {0};
    bool has_stopped[ARRAY_COUNT(rules)] = {0};
    for (size_t n = 10; n <= SAMPLES_MAX; n += (n + 3) / 4) {
        struct stop_look look = look_at(samples, n, truth);
        for (size_t r = 0; r < ARRAY_COUNT(rules); r++) {
            if (rules[r].is_every_sample || has_stopped[r])
                continue;
            has_stopped[r] = stops(&rules[r], &look, stop->target, &met[r]);
            if (has_stopped[r])
                tally_stop(&tallies[r], &look);
        }
    }
    for (size_t r = 0; r < ARRAY_COUNT(rules); r++)
        for (size_t n = 10; rules[r].is_every_sample && !has_stopped[r] && n <= 500; n++) {
            struct stop_look look = look_at(samples, n, truth);
            has_stopped[r] = stops(&rules[r], &look, stop->target, &met[r]);
            if (has_stopped[r])
                tally_stop(&tallies[r], &look);
        }
}

void study_stop(const struct study_options *options)
{
    printf("\nStop by precision: coverage of the interval stopped with in %%, @ median n (share of "
           "runs that stopped by n = %d)\n\n| series |",
           SAMPLES_MAX);
    for (size_t r = 0; r < ARRAY_COUNT(rules); r++)
        printf(" %s |", rules[r].name);
    printf("\n| --- |");
    for (size_t r = 0; r < ARRAY_COUNT(rules); r++)
        printf(" --- |");
    printf("\n");
    /* Many looks a run: fewer runs than elsewhere. */
    size_t runs = (options->series_count + 1) / 2;
    for (size_t c = 0; c < ARRAY_COUNT(cases); c++) {
        struct stop_tally tallies[ARRAY_COUNT(rules)] = {0};
        for (size_t r = 0; r < ARRAY_COUNT(rules); r++) {
            tallies[r].counts = calloc(runs, sizeof(double));
            if (tallies[r].counts == NULL)
                exit(1);
        }
        double truth = study_true_quantile(&cases[c].kind, SAMPLES_MAX, 0.5);
        uint64_t key = random_key(random_key(options->seed, 8), c);
        for (size_t i = 0; i < runs; i++) {
            double samples[SAMPLES_MAX];
            struct study_random random = {random_key(key, i), 0};
            study_series_make(&cases[c].kind, &random, SAMPLES_MAX, samples);
            study_run(samples, &cases[c], truth, tallies);
        }
        printf("| %s |", cases[c].kind.name);
        for (size_t r = 0; r < ARRAY_COUNT(rules); r++) {
            struct stop_tally *tally = &tallies[r];
            if (tally->stopped == 0)
                printf(" - |");
            else {
                quantile_sort(tally->counts, tally->stopped);
                printf(" %.1f @%.0f (%.0f) |",
                       100 * (double)tally->covered / (double)tally->stopped,
                       quantile_median(tally->counts, tally->stopped),
                       100 * (double)tally->stopped / (double)runs);
            }
            free(tally->counts);
        }
        printf("\n");
    }
}
