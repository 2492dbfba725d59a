/* bench/study_gate.c - what `compare --gate` says of runs whose true change is known: runs of the
 * default length, made by the policy that measures, judged by measure/change.h. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "base/status.h"
#include "measure/change.h"
#include "measure/policy.h"
#include "measure/quantile.h"
#include "measure/special.h"
#include "measure/summary.h"
#include "statistics_study.h"
#include "study_series.h"

#define STEP_NS        20e6
#define SERIES_MAX     4000
#define TRIALS_MAX     8
#define LEAST_PERCENT  2
#define NOISE_FREEDOM  4 /* as well as other cells let one know it */
#define SERIES_DIVISOR 10

/* How the steps of a run are: the smallest and the largest noise that a default run meets its
 * precision with in a second, and in some. */
static const struct study_kind kinds[] = {
    {"steps with sd 5 %, AR(1) 0.3", STUDY_NORMAL, 0.3, 0, STUDY_FLAT, 0},
    {"steps with 3 % of outliers", STUDY_OUTLIERS, 0, 0, STUDY_FLAT, 0},
};
static const double between[] = {0,    0.003, 0.005,
                                 0.01, 0.02,  0.03}; /* standard deviation of runs */

struct design {
    const char *name;
    size_t trials_count;
    bool is_known; /* the noise between runs, from other cells */
};
static const struct design designs[] = {{"one run a side, nothing known", 1, false},
                                        {"one run a side, noise known", 1, true},
                                        {"3 trials a side", 3, false},
                                        {"5 trials a side", 5, false},
                                        {"8 trials a side", 8, false}};

struct run {
    double *samples; /* borrowed: SERIES_MAX */
    size_t count;
    double log_median, within;
};

/* A run of the default policy over a made-up series at that level. */
static void measure_run(const struct study_kind *kind, struct study_random *random, double level,
                        struct run *ret_run)
{
    struct measure_policy policy = measure_policy_default();
    struct measure_state state;
    struct measure_summary summary;
    static double series[SERIES_MAX];
    size_t taken = 0;
    policy.is_warmup_auto = false;
    policy.warmup_steps = 0;
    study_series_make(kind, random, SERIES_MAX, series);
    measure_init(&state, &policy);
    for (;;) {
        struct measure_order order = measure_next(&state);
        uint64_t steps[SERIES_MAX];
        uint64_t window_ns = 0;
        if (order.phase == MEASURE_DONE || taken + order.steps_count > SERIES_MAX)
            break;
        for (uint32_t i = 0; i < order.steps_count; i++) {
            steps[i] = (uint64_t)(STEP_NS * level * series[taken++]);
            window_ns += steps[i];
        }
        if (measure_add_block(&state, order.steps_count, window_ns, steps, NULL) != STATUS_OK)
            exit(1);
    }
    if (measure_summarize(state.steady.values, state.steady.count, state.steady_steps_done,
                          state.steady_ns, 1, &summary, NULL) != STATUS_OK)
        exit(1);
    double error =
        log(summary.median_95.high / summary.median_95.low) / (2 * special_normal_quantile(0.975));
    ret_run->log_median = log(summary.median_ns);
    ret_run->within = summary.median_95.is_known ? error * error : NAN;
    ret_run->count = state.steady.count;
    if (ret_run->samples != NULL)
        memcpy(ret_run->samples, state.steady.values, state.steady.count * sizeof(double));
    measure_release(&state);
}

static struct change_side measure_side(const struct study_kind *kind, struct study_random *random,
                                       double sd, double factor, size_t trials_count,
                                       double *ret_samples, size_t *ret_count)
{
    struct change_side side = {.runs_count = trials_count};
    double medians[TRIALS_MAX];
    for (size_t i = 0; i < trials_count; i++) {
        struct run run = {.samples = i == 0 ? ret_samples : NULL};
        measure_run(kind, random, factor * exp(sd * study_gauss(random)), &run);
        medians[i] = run.log_median;
        side.mean += run.log_median / (double)trials_count;
        side.within += run.within / (double)trials_count;
        if (i == 0)
            *ret_count = run.count;
    }
    for (size_t i = 0; i < trials_count; i++)
        side.squares += pow(medians[i] - side.mean, 2);
    return side;
}

/* An estimate of the spread between runs with so many degrees of freedom. */
static struct change_noise noise_of(const struct design *design, double sd,
                                    struct study_random *random)
{
    if (!design->is_known)
        return change_noise_assumed();
    double squares = 0;
    for (size_t i = 0; i < NOISE_FREEDOM; i++)
        squares += pow(study_gauss(random), 2);
    return (struct change_noise){sd * sqrt(squares / NOISE_FREEDOM), NOISE_FREEDOM, false};
}

/* Two-sided p of the rank sum of all steps of two runs, normal, as if they were independent: what
 * comparing step by step says. */
static double rank_sum_p(const double *base, size_t base_count, const double *now, size_t now_count)
{
    static double sorted[SERIES_MAX];
    double below = 0;
    memcpy(sorted, now, now_count * sizeof(double));
    quantile_sort(sorted, now_count);
    for (size_t i = 0; i < base_count; i++) {
        size_t low = 0;
        size_t high = now_count;
        while (low < high) {
            size_t middle = (low + high) / 2;
            if (sorted[middle] < base[i])
                low = middle + 1;
            else
                high = middle;
        }
        below += (double)low;
    }
    double product = (double)base_count * (double)now_count;
    double sd = sqrt(product * (double)(base_count + now_count + 1) / 12);
    return 2 * special_normal_cdf(-fabs(below - product / 2) / sd);
}

struct counts {
    size_t outcomes[4];
    size_t by_steps; /* told as different by all steps */
};

static struct counts judge_pairs(const struct study_options *options, uint64_t key, size_t kind,
                                 size_t noise_index, const struct design *design, double factor)
{
    static double samples[2][SERIES_MAX];
    struct counts counts = {0};
    size_t pairs = options->series_count / SERIES_DIVISOR;
    for (size_t i = 0; i < pairs; i++) {
        struct study_random random = {random_key(key, i), 0};
        size_t sizes[2];
        double sd = between[noise_index];
        struct change_side base =
            measure_side(&kinds[kind], &random, sd, 1, design->trials_count, samples[0], &sizes[0]);
        struct change_side now = measure_side(&kinds[kind], &random, sd, factor,
                                              design->trials_count, samples[1], &sizes[1]);
        struct change_noise noise = noise_of(design, sd, &random);
        struct change change = change_of(&base, &now, &noise);
        const struct change_rule rule = {.least = log1p(LEAST_PERCENT / 100.0),
                                         .is_significant =
                                             change_is_significant(&change, CHANGE_ALPHA)};
        counts.outcomes[change_decide(&change, &rule)]++;
        counts.by_steps += rank_sum_p(samples[0], sizes[0], samples[1], sizes[1]) < CHANGE_ALPHA;
    }
    return counts;
}

static double percent(size_t count, const struct study_options *options)
{
    return 100 * (double)count / (double)(options->series_count / SERIES_DIVISOR);
}

void study_gate(const struct study_options *options)
{
    static const double factors[] = {1, 1.03, 1.05, 1.12};
    printf(
        "\nVerdicts of pairs of default runs in %%, least change %d %%; by steps: a rank sum test "
        "over all steps of both says that they differ\n\n"
        "| runs | apart by | no change: SAME | WORSE or BETTER | by steps | +3 %%: WORSE | +5 %%: "
        "WORSE | +12 %%: WORSE |\n| --- | --- | --- | --- | --- | --- | --- | --- |\n",
        LEAST_PERCENT);
    for (size_t k = 0; k < ARRAY_COUNT(kinds); k++)
        for (size_t d = 0; d < ARRAY_COUNT(designs); d++)
            for (size_t b = 0; b < ARRAY_COUNT(between); b++) {
                struct counts counts[ARRAY_COUNT(factors)];
                for (size_t f = 0; f < ARRAY_COUNT(factors); f++) {
                    uint64_t key = random_key(random_key(options->seed, 14), k * 100 + d * 10 + b);
                    counts[f] =
                        judge_pairs(options, random_key(key, f), k, b, &designs[d], factors[f]);
                }
                printf("| %s; %s | %.1f %% | %.1f | %.1f | %.1f | %.1f | %.1f | %.1f |\n",
                       kinds[k].name, designs[d].name, 100 * between[b],
                       percent(counts[0].outcomes[CHANGE_SAME], options),
                       percent(counts[0].outcomes[CHANGE_WORSE] + counts[0].outcomes[CHANGE_BETTER],
                               options),
                       percent(counts[0].by_steps, options),
                       percent(counts[1].outcomes[CHANGE_WORSE], options),
                       percent(counts[2].outcomes[CHANGE_WORSE], options),
                       percent(counts[3].outcomes[CHANGE_WORSE], options));
                (void)fflush(stdout);
            }
}
