#include "measure/next_run.h"
#include "measure/quantile.h"
#include "measure_golden.h"

#define MOST        NEXT_RUN_RUNS_MAX
#define OTHERS_MOST 4

static struct next_run_prior golden_prior(const json_t *others)
{
    struct next_run_spread spreads[OTHERS_MOST];
    size_t count = json_array_size(others);
    cr_assert_leq(count, OTHERS_MOST);
    for (size_t i = 0; i < count; i++) {
        const json_t *other = json_array_get(others, i);
        spreads[i] = (struct next_run_spread){json_number_value(json_array_get(other, 0)),
                                              json_number_value(json_array_get(other, 1)),
                                              json_number_value(json_array_get(other, 2)),
                                              json_number_value(json_array_get(other, 3))};
    }
    return next_run_prior_of(spreads, count);
}

Test(measure_next_run, intervals_agree_with_scipy)
{
    json_t *root = NULL;
    const json_t *rows = golden_rows("next_run", 10, &root);
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        struct measure_reading runs[MOST];
        size_t count = golden_readings(row, MOST, runs);
        double width = golden_number(row, "width");
        bool disturbed[MOST] = {false};
        for (size_t k = 1; k < count && json_is_true(json_object_get(row, "disturbed")); k += 3)
            disturbed[k] = true;
        for (size_t k = 0; k < count; k++)
            runs[k].median_95 = (struct measure_interval){true, runs[k].median * exp(-width),
                                                          runs[k].median * exp(width)};
        struct next_run_priors priors = {golden_prior(json_object_get(row, "others")),
                                         golden_prior(json_object_get(row, "calm"))};
        struct next_run next = next_run_of(runs, disturbed, count, false, priors, 0.95);
        cr_assert(next.interval.is_known);
        golden_near(next.interval.low, golden_number(row, "low"), 0, "low");
        golden_near(next.interval.high, golden_number(row, "high"), 0, "high");
        double between = golden_number(row, "between");
        cr_expect_eq(next.between_percent.is_known, between != GOLDEN_UNKNOWN);
        if (next.between_percent.is_known)
            cr_expect_float_eq(next.between_percent.value, between, 1e-9 * (1 + between),
                               "row %zu: %.17g, reference %.17g", i, next.between_percent.value,
                               between);
    }
    json_decref(root);
}

static struct measure_reading reading(double median, double width)
{
    return (struct measure_reading){
        .median = median, .median_95 = {width > 0, median * exp(-width), median * exp(width)}};
}

Test(measure_next_run, what_it_rests_on)
{
    const struct next_run_priors none = {0};
    const struct next_run_priors some = {{0.0004, 2, 0.03}, {0.0004, 2, 0.03}};
    const struct next_run_priors little = {{0.0004, 0.5, 0.03}, {0.0004, 0.5, 0.03}};
    struct measure_reading runs[] = {reading(100, 0.01), reading(103, 0.01)};
    struct measure_reading bare = {.median = 100};
    struct measure_reading few_samples = {.median = 100, .extremes = {98, 103, 2.5}};
    struct measure_reading two_samples = {.median = 100, .extremes = {98, 103, 2}};
    struct {
        struct next_run next;
        const char *basis;
    } cases[] = {
        {next_run_of(&bare, NULL, 1, false, none, 0.95), NULL},
        {next_run_of(&bare, NULL, 1, false, some, 0.95), "kind"},
        {next_run_of(runs, NULL, 1, true, none, 0.95), "this_run"},
        {next_run_of(runs, NULL, 1, true, some, 0.95), "kind"},
        {next_run_of(runs, NULL, 1, true, little, 0.95), "this_run"},
        {next_run_of(runs, NULL, 2, false, some, 0.95), "cell"},
        {next_run_of(runs, NULL, 2, true, none, 0.95), "trials"},
        {next_run_of(&few_samples, NULL, 1, false, none, 0.95), "this_run"},
        {next_run_of(&two_samples, NULL, 1, false, none, 0.95), NULL},
        {next_run_of(&two_samples, NULL, 1, false, some, 0.95), "kind"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        const char *basis = next_run_basis_name(cases[i].next.basis);
        cr_expect_eq(cases[i].next.interval.is_known, cases[i].basis != NULL, "case %zu", i);
        if (cases[i].basis == NULL)
            cr_expect_null(basis);
        else
            cr_expect_str_eq(basis, cases[i].basis, "case %zu", i);
    }
    /* Alone it is its own interval, for a difference of two such runs. */
    cr_expect_float_eq(log(cases[2].next.interval.high / 100), 0.01 * sqrt(2), 1e-12);
    cr_expect_not(cases[2].next.between_percent.is_known);
}

Test(measure_next_run, every_run_that_was_seen_is_in_it)
{
    struct measure_reading runs[MOST];
    for (size_t i = 0; i < MOST; i++)
        runs[i] = reading(i == 3 ? 200 : 100, 0.001);
    struct next_run next = next_run_of(runs, NULL, MOST, false, (struct next_run_priors){0}, 0.95);
    cr_expect_eq(next.interval.high, 200, "Student's is %g", next.interval.high);
    cr_expect_lt(next.interval.low, 100);
}

Test(measure_next_run, disturbed_runs_widen_it_upwards_only)
{
    struct measure_reading runs[] = {reading(100, 0.001), reading(101, 0.001), reading(99, 0.001),
                                     reading(100, 0.001), reading(180, 0.001)};
    const bool disturbed[] = {false, false, false, false, true};
    const struct next_run_priors none = {0};
    struct next_run clean = next_run_of(runs, NULL, 4, false, none, 0.95);
    struct next_run all = next_run_of(runs, NULL, 5, false, none, 0.95);
    struct next_run told = next_run_of(runs, disturbed, 5, false, none, 0.95);
    cr_expect_eq(told.interval.low, clean.interval.low);
    cr_expect_eq(told.interval.high, all.interval.high);
    cr_expect_lt(all.interval.low, 60, "not told it is as wide downwards");
}

/* One other cell was measured twice, once beside a busy neighbour. */
Test(measure_next_run, few_runs_far_apart_are_no_bell_curve)
{
    struct measure_reading runs[] = {reading(100, 0.01), reading(150, 0.01), reading(100, 0.01)};
    const struct next_run_spread spread = next_run_spread_of(runs, 2, 1);
    const struct next_run_prior prior = next_run_prior_of(&spread, 1);
    const struct next_run_priors none = {0};
    struct measure_interval kind =
        next_run_of(runs, NULL, 1, false, (struct next_run_priors){prior, prior}, 0.95).interval;
    cr_expect_float_eq(kind.high, 100 * pow(1.5, 1.5), 1e-9, "%g", kind.high);
    cr_expect_float_eq(kind.low, 100 / pow(1.5, 1.5), 1e-9, "%g", kind.low);
    struct measure_interval cell = next_run_of(runs, NULL, 2, false, none, 0.95).interval;
    cr_expect_float_eq(cell.high, sqrt(100 * 150) * pow(1.5, 1.5), 1e-9, "%g", cell.high);
    /* Where it is not far, Student's t stands. */
    runs[1].median = 102;
    double near = next_run_of(runs, NULL, 2, false, none, 0.95).interval.high;
    cr_expect_gt(near, 110);
    cr_expect_lt(near, 125);
    /* What the samples of a run leave open is not cut. */
    runs[2] = reading(101, 0.9);
    cr_expect_gt(next_run_of(runs, NULL, 3, false, none, 0.95).interval.high, 200);
}

Test(measure_next_run, a_short_run_is_less_well_known)
{
    struct measure_reading runs[] = {reading(100, 0.01), reading(101, 0.01), reading(100, 0.01)};
    const struct next_run_priors none = {0};
    double usual = next_run_of(runs, NULL, 3, false, none, 0.95).interval.high;
    runs[2] = reading(100, 0.3);
    double short_one = next_run_of(runs, NULL, 3, false, none, 0.95).interval.high;
    cr_expect_gt(short_one, usual * 1.3);
}

/* --- does the interval hold for the next run? --- */

static double gauss(uint64_t key, uint64_t *counter)
{
    double radius = sqrt(-2 * log(1 - random_unit(random_at(key, (*counter)++))));
    return radius * cos(2 * 3.14159265358979323846 * random_unit(random_at(key, (*counter)++)));
}

/* A machine whose runs differ: by a normal effect, a log-normal (skewed) one, or by two levels,
 * 53 and 62 ms, each of which stays for the next run with `stay`. */
struct machine {
    double sd, skewed_sd, own_sd;
    double stay; /* 0: one level */
};

#define RUNS_COUNT      24
#define SEQUENCES_COUNT 1000

/* % of runs 2 to 23 whose interval holds the median of the run after. */
static double coverage(const struct machine *machine, uint64_t key)
{
    const struct next_run_priors none = {0};
    uint64_t counter = 0;
    size_t held = 0;
    size_t count = 0;
    for (size_t s = 0; s < SEQUENCES_COUNT; s++) {
        struct measure_reading runs[RUNS_COUNT];
        bool is_slow = gauss(key, &counter) > 0;
        for (size_t i = 0; i < RUNS_COUNT; i++) {
            if (random_unit(random_at(key, counter++)) >= machine->stay)
                is_slow = gauss(key, &counter) > 0;
            double state = machine->sd * gauss(key, &counter) +
                           machine->skewed_sd * exp(gauss(key, &counter)) +
                           machine->own_sd * gauss(key, &counter);
            double level = machine->stay > 0 && is_slow ? 62 : 53;
            runs[i] = reading(level * exp(state), 1.96 * machine->own_sd);
        }
        for (size_t i = 1; i + 1 < RUNS_COUNT; i++) {
            size_t first = i + 1 > MOST ? i + 1 - MOST : 0;
            struct next_run next =
                next_run_of(runs + first, NULL, i + 1 - first, false, none, 0.95);
            double median = runs[i + 1].median;
            held += next.interval.low <= median && median <= next.interval.high;
            count++;
        }
    }
    return 100 * (double)held / (double)count;
}

/* The reading of a first run of few samples. */
static struct measure_reading few(uint64_t key, uint64_t *counter, size_t count, double skew)
{
    double samples[8];
    for (size_t i = 0; i < count; i++)
        samples[i] = skew > 0 ? 50 * (1 + 0.05 * exp(skew * gauss(key, counter)))
                              : 50 * exp(0.03 * gauss(key, counter));
    quantile_sort(samples, count);
    return (struct measure_reading){.median = quantile_median(samples, count),
                                    .extremes = {samples[0], samples[count - 1], (double)count}};
}

Test(measure_next_run, a_first_run_of_few_samples_holds_the_next_one_too)
{
    const struct next_run_priors none = {0};
    for (unsigned kind = 0; kind < 2; kind++)
        for (size_t samples_count = 3; samples_count < 6; samples_count++) {
            uint64_t counter = 0;
            size_t held = 0;
            for (size_t i = 0; i < 20000; i++) {
                struct measure_reading run = few(31 + kind, &counter, samples_count, kind);
                double next_median = few(31 + kind, &counter, samples_count, kind).median;
                struct next_run next = next_run_of(&run, NULL, 1, false, none, 0.95);
                cr_assert_eq(next.basis, NEXT_RUN_THIS_RUN);
                held += next.interval.low <= next_median && next_median <= next.interval.high;
            }
            double percent = 100 * (double)held / 20000;
            cr_expect(percent > 90 && percent < 98.5, "%u, %zu samples: %g %%", kind, samples_count,
                      percent);
        }
}

/* One that was measured worst must not count as known best. */
Test(measure_next_run, few_samples_make_it_wider_than_many)
{
    struct measure_reading runs[] = {reading(100, 0.01), reading(101, 0.01), reading(100, 0.01)};
    const struct next_run_priors none = {0};
    double usual = next_run_of(runs, NULL, 3, false, none, 0.95).interval.high;
    runs[2] = (struct measure_reading){.median = 100, .extremes = {80, 120, 3}};
    cr_expect_gt(next_run_of(runs, NULL, 3, false, none, 0.95).interval.high, usual * 1.1);
}

Test(measure_next_run, it_holds_the_next_run_in_93_to_97_of_100)
{
    static const struct machine machines[] = {
        {.sd = 0.003, .own_sd = 0.003},
        {.sd = 0.01, .own_sd = 0.003},
        {.sd = 0.05, .own_sd = 0.002},
        {.skewed_sd = 0.01, .own_sd = 0.003},
        {.sd = 0.01, .own_sd = 0.003, .stay = 0.5},
        {.sd = 0.01, .own_sd = 0.003, .stay = 0.8},
        {.sd = 0.01, .own_sd = 0.003, .stay = 0.95},
    };
    for (size_t i = 0; i < ARRAY_COUNT(machines); i++) {
        double percent = coverage(&machines[i], 1000 + i);
        cr_expect(percent >= 93 && percent <= 97, "machine %zu: %.2f %%", i, percent);
    }
}
