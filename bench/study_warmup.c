/* How rules that detect the end of a warm-up err, on made-up and on recorded series. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "base/status.h"
#include "measure/quantile.h"
#include "statistics_study.h"
#include "study_rules.h"
#include "study_series.h"

#define SAMPLES_MAX 1000 /* the warm-up's cap */
#define AFTER       100  /* what is measured next */
#define TOLERANCE   0.01 /* of the final level: a measurement that starts there is not spoilt */
#define BLOCK_MAX   25   /* 250 ms of steps of 10 ms */
#define LINE_BYTES  256
#define RULES_MAX   16

enum path { FLAT, FIRST_SLOW, DECAY, LINE_DOWN, STEP_DOWN, SPEED_LOST, DRIFT, WALK };

struct warmup_kind {
    const char *name;
    enum path path;
    double size;
    double length; /* time constant, or samples until the end */
};

struct noise_kind {
    const char *name;
    double sd;
    double phi;
    double outlier_share; /* of samples that take twice as long */
};

/* clang-format off */
static const struct warmup_kind paths[] = {
    {"steady from the first step",          FLAT,       0,     0},
    {"first step 10 times as long",         FIRST_SLOW, 9,     1},
    {"+100 %, time constant 5",             DECAY,      1,     5},
    {"+100 %, time constant 20",            DECAY,      1,     20},
    {"+100 %, time constant 80",            DECAY,      1,     80},
    {"+10 %, time constant 50",             DECAY,      0.1,   50},
    {"line from +30 % over 100 steps",      LINE_DOWN,  0.3,   100},
    {"step from +10 % after 60",            STEP_DOWN,  0.1,   60},
    {"-10 % (boost), time constant 100",    SPEED_LOST, 0.1,   100},
    {"never: +0.1 % a step for ever",       DRIFT,      0.001, 0},
    {"never: random walk, 1 % a step",      WALK,       0.01,  0},
};
static const struct noise_kind noises[] = {
    {"1 % noise",               0.01, 0,   0},
    {"5 % noise",               0.05, 0,   0},
    {"2 % noise, AR(1) 0.7",    0.02, 0.7, 0},
    {"2 % noise, 2 % outliers", 0.02, 0,   0.02},
};
/* clang-format on */

static double path_level(const struct warmup_kind *kind, size_t index)
{
    double i = (double)index;
    switch (kind->path) {
    case FLAT:
    case WALK: return 1;
    case FIRST_SLOW: return index == 0 ? 1 + kind->size : 1;
    case DECAY: return 1 + kind->size * exp(-i / kind->length);
    case LINE_DOWN: return 1 + kind->size * fmax(0, 1 - i / kind->length);
    case STEP_DOWN: return i < kind->length ? 1 + kind->size : 1;
    case SPEED_LOST: return 1 - kind->size * exp(-i / kind->length);
    case DRIFT: return 1 + kind->size * i;
    }
    return 1;
}

static bool is_never_steady(const struct warmup_kind *kind)
{
    return kind->path == DRIFT || kind->path == WALK;
}

static void make_warmup(const struct warmup_kind *kind, const struct noise_kind *noise,
                        struct study_random *random, double *ret_samples)
{
    double slow = study_gauss(random);
    double walk = 0;
    for (size_t i = 0; i < SAMPLES_MAX; i++) {
        double value = path_level(kind, i) * exp(walk) * (1 + noise->sd * slow);
        if (study_uniform(random) < noise->outlier_share)
            value *= 2;
        ret_samples[i] = value;
        slow = noise->phi * slow + sqrt(1 - noise->phi * noise->phi) * study_gauss(random);
        if (kind->path == WALK)
            walk += kind->size * study_gauss(random);
    }
}

/* Where the rule says "steady" first; false when it never does. */
static bool find_end(const struct study_rule *rule, const double *samples, size_t count,
                     size_t *ret_start, size_t *ret_count)
{
    size_t block = 1;
    for (size_t n = 1; n <= count;) {
        if (rule->is_steady(samples, n, ret_start)) {
            *ret_count = n;
            return true;
        }
        if (rule->is_per_sample)
            block = 1;
        else
            block = n < BLOCK_MAX ? n : BLOCK_MAX;
        n += block;
    }
    return false;
}

/* Is the level of what is measured next more than TOLERANCE off the final one? */
static bool is_early(const struct warmup_kind *kind, size_t start)
{
    if (is_never_steady(kind))
        return true;
    double sum = 0;
    for (size_t i = start; i < start + AFTER; i++)
        sum += path_level(kind, i) - 1;
    return fabs(sum / AFTER) > TOLERANCE;
}

struct finding {
    size_t early;
    size_t never;
    size_t found;
    double *taken; /* owned: samples until it was said */
};

static void study_rule(const struct study_rule *rule, const struct warmup_kind *kind,
                       const double *samples, struct finding *finding)
{
    size_t start = 0;
    size_t count = 0;
    if (!find_end(rule, samples, SAMPLES_MAX, &start, &count)) {
        finding->never++;
        return;
    }
    finding->taken[finding->found++] = (double)count;
    finding->early += is_early(kind, start);
}

/* Sums of percentages over the tables: too early and missed where there is an end to find, and
 * "steady" said of what never is. */
struct sums {
    double early, missed, imagined;
};

static void print_finding(struct finding *finding, size_t series_count, bool is_never,
                          struct sums *sums)
{
    double scale = 100 / (double)series_count;
    quantile_sort(finding->taken, finding->found);
    printf(" %.0f / %.0f", scale * (double)finding->early, scale * (double)finding->never);
    if (finding->found > 0)
        printf(" @%.0f |", quantile_median(finding->taken, finding->found));
    else
        printf(" |");
    if (is_never) {
        sums->imagined += scale * (double)finding->early;
        return;
    }
    sums->early += scale * (double)finding->early;
    sums->missed += scale * (double)finding->never;
}

static void study_path(const struct study_options *options, size_t path, size_t noise,
                       struct sums sums[RULES_MAX])
{
    struct finding findings[RULES_MAX] = {0};
    for (size_t r = 0; r < study_rules_count; r++) {
        findings[r].taken = calloc(options->series_count, sizeof(double));
        if (findings[r].taken == NULL)
            exit(1);
    }
    uint64_t key = random_key(random_key(random_key(options->seed, 7), path), noise);
    for (size_t i = 0; i < options->series_count; i++) {
        double samples[SAMPLES_MAX];
        struct study_random random = {random_key(key, i), 0};
        make_warmup(&paths[path], &noises[noise], &random, samples);
        for (size_t r = 0; r < study_rules_count; r++)
            study_rule(&study_rules[r], &paths[path], samples, &findings[r]);
    }
    printf("| %s |", paths[path].name);
    for (size_t r = 0; r < study_rules_count; r++) {
        print_finding(&findings[r], options->series_count, is_never_steady(&paths[path]), &sums[r]);
        free(findings[r].taken);
    }
    printf("\n");
}

static void print_rules_head(const char *first)
{
    printf("| %s |", first);
    for (size_t r = 0; r < study_rules_count; r++)
        printf(" %s |", study_rules[r].name);
    printf("\n| --- |");
    for (size_t r = 0; r < study_rules_count; r++)
        printf(" --- |");
    printf("\n");
}

/* --- recorded series --- */

static size_t read_series(const char *path, double *ret_samples)
{
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return 0;
    char line[LINE_BYTES];
    size_t count = 0;
    while (count < SAMPLES_MAX && fgets(line, sizeof(line), file) != NULL)
        if (line[0] != '#')
            ret_samples[count++] = strtod(line, NULL);
    (void)fclose(file);
    return count;
}

static double median_of(const double *values, size_t count)
{
    double sorted[SAMPLES_MAX];
    memcpy(sorted, values, count * sizeof(sorted[0]));
    quantile_sort(sorted, count);
    return quantile_median(sorted, count);
}

static void study_recorded(const struct study_options *options)
{
    static const char *const names[] = {"native_infer", "native_decode", "native_train",
                                        "native_one_layer"};
    printf("\nRecorded series: samples until steady, and the median of the %d after it beside that "
           "of the series' second half, in %%\n\n",
           AFTER);
    print_rules_head("series");
    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        char path[512];
        double samples[SAMPLES_MAX];
        (void)snprintf(path, sizeof(path), "%s/%s.txt", options->recorded_dir, names[i]);
        size_t count = read_series(path, samples);
        if (count < 4 * AFTER)
            continue;
        double late = median_of(samples + count / 2, count - count / 2);
        printf("| %s |", names[i]);
        for (size_t r = 0; r < study_rules_count; r++) {
            size_t start = 0;
            size_t taken = 0;
            if (!find_end(&study_rules[r], samples, count - AFTER, &start, &taken))
                printf(" never |");
            else
                printf(" %zu, %+.1f |", taken,
                       100 * (median_of(samples + start, AFTER) / late - 1));
        }
        printf("\n");
    }
}

void study_warmup(const struct study_options *options)
{
    struct sums sums[RULES_MAX] = {0};
    double never_count = 0;
    for (size_t path = 0; path < ARRAY_COUNT(paths); path++)
        never_count += is_never_steady(&paths[path]);
    for (size_t noise = 0; noise < ARRAY_COUNT(noises); noise++) {
        printf("\nEnd of warm-up, %s: %% too early / %% never, @ median samples taken\n\n",
               noises[noise].name);
        print_rules_head("series");
        for (size_t path = 0; path < ARRAY_COUNT(paths); path++)
            study_path(options, path, noise, sums);
    }
    double never = never_count * ARRAY_COUNT(noises);
    double others = (double)(ARRAY_COUNT(paths) * ARRAY_COUNT(noises)) - never;
    printf("\nMeans over the tables, in %%: too early; missed; steady said of what never is\n\n");
    print_rules_head("");
    printf("| all |");
    for (size_t r = 0; r < study_rules_count; r++)
        printf(" %.1f; %.1f; %.1f |", sums[r].early / others, sums[r].missed / others,
               sums[r].imagined / never);
    printf("\n");
    study_recorded(options);
}
