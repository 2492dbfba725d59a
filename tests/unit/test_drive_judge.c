/* Texts of reasons and warnings: the number that is printed is the number that decided. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "client/client.h"
#include "measure/canary.h"
#include "measure/drift.h"
#include "measure/next_run.h"
#include "measure/precision.h"
#include "measure/steady.h"
#include "spec/hint.h"
#include "telemetry/clock_check.h"

#define NUMBERS_MAX 64
#define NEAR        0.01
#define JUST_OVER   (1 + 1e-7)

TestSuite(drive_judge);

static size_t numbers_of(const char *text, double *ret_numbers)
{
    size_t count = 0;
    while (*text != '\0' && count < NUMBERS_MAX) {
        char *end = NULL;
        double number = strtod(text, &end);
        bool is_number = end != text && strpbrk(text, "0123456789") < end;
        if (is_number)
            ret_numbers[count++] = number;
        text = is_number ? end : text + 1;
    }
    return count;
}

static bool is_near(double number, double wanted)
{
    return fabs(fabs(number) - wanted) <= NEAR * wanted;
}

/* The one reason has the code, and the short form of its text two numbers about `value` and `limit`
 * that compare as those do. */
static void expect_decided(const struct reasons *reasons, const char *code, double value,
                           double limit)
{
    double numbers[NUMBERS_MAX];
    cr_assert_eq(reasons->count, 1, "%s: %zu reasons", code, reasons->count);
    cr_expect_str_eq(reasons->items[0].code, code);
    char text[REASON_TEXT_BYTES];
    (void)snprintf(text, sizeof(text), "%.*s", (int)reason_short_bytes(reasons->items[0].text),
                   reasons->items[0].text);
    size_t count = numbers_of(text, numbers);
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < count; j++) {
            bool is_same_way = value > limit ? fabs(numbers[i]) > fabs(numbers[j])
                                             : fabs(numbers[i]) < fabs(numbers[j]);
            if (is_near(numbers[i], value) && is_near(numbers[j], limit) && is_same_way)
                return;
        }
    cr_expect_fail("%s does not say %.10g against %.10g: %s", code, value, limit, text);
}

/* A median of 2 ms, known to -1 % and so many more. */
static struct precision known_to(double percent)
{
    return (struct precision){.samples_count = 12,
                              .median_ns = 2e6,
                              .median_95 = {true, 1.98e6, 2e6 * (1 + percent / 100)},
                              .effective_count = 12,
                              .needed_count = 5.3};
}

static struct precision too_few(size_t samples_count)
{
    return (struct precision){.samples_count = samples_count,
                              .median_ns = 2e6,
                              .effective_count = 7.5 / JUST_OVER,
                              .needed_count = 7.5};
}

Test(drive_judge, how_well_a_median_is_known)
{
    struct reasons reasons = {0};
    struct precision precision = known_to(3 * JUST_OVER);
    cr_expect_float_eq(precision_percent(&precision), 3 * JUST_OVER, 1e-9);
    precision_add_target(&precision, &(struct precision_time){1000, 0, 0}, 3, &reasons);
    expect_decided(&reasons, "target_ci_not_met", precision_percent(&precision), 3);
    cr_expect_not_null(strstr(reasons.items[0].text, "-1 / +3.0000003 %"), "%s",
                       reasons.items[0].text);
    reasons = (struct reasons){0};
    precision = known_to(PRECISION_WIDE_PERCENT);
    precision_add_imprecise(&precision, &reasons);
    cr_expect_eq(reasons.count, 0, "at the limit, not over it");
    precision = known_to(PRECISION_WIDE_PERCENT * JUST_OVER);
    precision_add_imprecise(&precision, &reasons);
    cr_assert_eq(reasons.count, 1);
    cr_expect_not_null(strstr(reasons.items[0].text, "known to -1 / +5.000001 % only"), "%s",
                       reasons.items[0].text);
}

/* Of the same 12 samples, with the published numbers of a run of ten steps. */
Test(drive_judge, a_wide_interval_says_both_sides)
{
    struct reasons reasons = {0};
    struct precision precision = {.samples_count = 10,
                                  .median_ns = 7.4e6,
                                  .median_95 = {true, 5.25e6, 11.1e6},
                                  .effective_count = 10,
                                  .needed_count = 5.3};
    precision_add_imprecise(&precision, &reasons);
    cr_assert_eq(reasons.count, 1);
    cr_expect_str_eq(reasons.items[0].code, "imprecise");
    cr_expect_str_eq(
        reasons.items[0].text,
        "the median is known to -29.1 / +50 % only (the limit is +-5 %), from 10 samples; it "
        "is 7.4 ms, 95 % interval 5.25 to 11.1 ms");
}

Test(drive_judge, samples_worth_too_few)
{
    struct reasons target = {0};
    struct reasons imprecise = {0};
    struct reasons correlated = {0};
    struct precision few = too_few(12);
    struct precision many = too_few(30);
    const struct precision_time disturbed = {371 * NS_PER_MS, 3100 * NS_PER_MS, 240 * NS_PER_MS};
    precision_add_target(&few, &disturbed, 1, &target);
    expect_decided(&target, "target_ci_not_met", few.effective_count, few.needed_count);
    cr_expect_not_null(
        strstr(target.items[0].text,
               "after 371 ms (pauses for others took 3.1s, disturbed blocks 240 ms)"),
        "%s", target.items[0].text);
    precision_add_imprecise(&few, &imprecise);
    precision_add_imprecise(&many, &imprecise);
    expect_decided(&imprecise, "imprecise", few.effective_count, few.needed_count);
    precision_add_correlated(&few, &correlated);
    precision_add_correlated(&many, &correlated);
    expect_decided(&correlated, "correlated", many.effective_count, many.needed_count);
    cr_expect_not_null(strstr(correlated.items[0].text, "30 samples"));
    struct precision known = known_to(400);
    known.samples_count = 30;
    correlated = (struct reasons){0};
    precision_add_correlated(&known, &correlated);
    cr_expect_eq(correlated.count, 0);
}

Test(drive_judge, levels_that_differ)
{
    for (int sign = -1; sign <= 1; sign += 2) {
        struct reasons reasons = {0};
        double near = sign * 4 * JUST_OVER;
        struct measure_interval beyond = {true, sign > 0 ? near : -9, sign > 0 ? 9 : near};
        struct drift drift = {.half_change_percent = {true, sign * 6},
                              .half_change_95 = beyond,
                              .limit_percent = 4,
                              .has_drifted = true};
        drift_add_reason(&drift, &reasons);
        expect_decided(&reasons, "drift", fabs(near), 4);
        struct canary_change change = {
            .ratio = {{true, sign * 6}, beyond}, .limit_percent = 4, .is_beyond = true};
        reasons = (struct reasons){0};
        canary_add_reason(&change, &reasons);
        expect_decided(&reasons, "machine_drift", fabs(near), 4);
    }
}

Test(drive_judge, runs_that_differ)
{
    struct reasons reasons = {0};
    struct next_run expected = {.interval = {true, 4, 5}};
    struct measure_reading slow = {.median = 6, .median_95 = {true, 5 * JUST_OVER, 7}};
    struct measure_reading fast = {.median = 3, .median_95 = {true, 2, 4 / JUST_OVER}};
    struct measure_reading like = {.median = 5.1, .median_95 = {true, 4.9, 5.3}};
    struct measure_reading few = {.median = 6, .extremes = {4.9, 7, 3}};
    next_run_add_unlike(&expected, 3, &like, 0, &reasons);
    cr_expect_eq(reasons.count, 0);
    next_run_add_unlike(&expected, 3, &few, 0, &reasons);
    cr_expect_eq(reasons.count, 0, "a sample of it lies within");
    few.extremes.low = 5.5;
    next_run_add_unlike(&expected, 3, &few, 0, &reasons);
    cr_assert_eq(reasons.count, 1);
    cr_expect_not_null(strstr(reasons.items[0].text, "(all samples 5.5 to 7 ms)"), "%s",
                       reasons.items[0].text);
    reasons = (struct reasons){0};
    next_run_add_unlike(&expected, 3, &slow, 0, &reasons);
    expect_decided(&reasons, "runs_disagree", slow.median_95.low, 5);
    reasons = (struct reasons){0};
    next_run_add_unlike(&expected, 3, &fast, 0, &reasons);
    expect_decided(&reasons, "runs_disagree", fast.median_95.high, 4);
}

/* `count` samples of 100 ns whose last `later` are longer by so much. */
static struct reasons warmup_of(size_t count, size_t later, double percent)
{
    double samples[STEADY_SAMPLES_MIN];
    struct reasons reasons = {0};
    for (size_t i = 0; i < count; i++)
        samples[i] = i + later < count ? 100 : 100 + percent;
    cr_expect_not(steady_is_short(samples, count));
    steady_add_reason(samples, count, count, 1000, &reasons);
    return reasons;
}

Test(drive_judge, warm_up_that_does_not_settle)
{
    const double over = STEADY_SHORT_PERCENT * JUST_OVER;
    struct reasons reasons = warmup_of(STEADY_SAMPLES_MIN, 5, STEADY_CHANGE_PERCENT * JUST_OVER);
    expect_decided(&reasons, "warmup_not_steady", STEADY_CHANGE_PERCENT * JUST_OVER,
                   STEADY_CHANGE_PERCENT);
    reasons = warmup_of(15, 5, over);
    expect_decided(&reasons, "warmup_not_steady", over, STEADY_SHORT_PERCENT);
    reasons = warmup_of(6, 1, over);
    expect_decided(&reasons, "warmup_not_steady", over, STEADY_SHORT_PERCENT);
    reasons = warmup_of(3, 0, 0);
    expect_decided(&reasons, "warmup_not_steady", 3, 4);
}

/* The change is small enough; the trend is not. */
Test(drive_judge, a_warm_up_with_a_trend)
{
    double samples[STEADY_SAMPLES_MIN];
    struct reasons reasons = {0};
    for (size_t i = 0; i < STEADY_SAMPLES_MIN; i++)
        samples[i] = 100 + 0.1 * (double)i;
    struct steady_look look = steady_look_at(samples, STEADY_SAMPLES_MIN);
    cr_assert(!look.is_settled && look.last - look.before < look.accepted);
    steady_add_reason(samples, STEADY_SAMPLES_MIN, STEADY_SAMPLES_MIN, 1000, &reasons);
    expect_decided(&reasons, "warmup_not_steady", look.trend_z, STEADY_TREND_Z);
}

Test(drive_judge, a_slower_clock)
{
    char text[REASON_TEXT_BYTES];
    struct reasons reasons = {0};
    cr_assert(clock_check_is_slow(1000000000, 1080000100, "before", text, sizeof(text)));
    reasons_add(&reasons, "machine_slow", "%s", text);
    expect_decided(&reasons, "machine_slow", 8.00001, CLOCK_CHECK_LIMIT_PERCENT);
}

Test(drive_judge, an_impossible_clock)
{
    struct reasons reasons = {0};
    struct client client;
    struct cell cell = {0};
    struct client_options options = {0};
    client_init(&client, &cell, &options);
    client.impossible_window_ns = 1000000001;
    client.window_max_ns = 1000000000;
    client_faults(&client, &reasons);
    expect_decided(&reasons, "clock_mismatch", 1000000001, 1000000000);
    client_release(&client);
}

/* A code is here, or quotes what others say and counts what is wrong by itself. */
Test(drive_judge, every_code_is_looked_at)
{
    static const char *const looked_at[] = {
        "warmup_not_steady",   "target_ci_not_met",
        "imprecise",           "drift",
        "correlated",          "machine_drift",
        "machine_slow",        "runs_disagree",
        "clock_mismatch",      "samples_min_not_reached", /* test_measure_policy.c */
        "foreign_load",        "load_not_judged",         /* counts of blocks, a time */
        "memory_does_not_fit", "memory_limit",
        "host_memory_low", /* num_format_bytes_apart() */
    };
    static const char *const quoted[] = {
        "gpu_shared",       "energy_disagrees",
        "over_peak",        "harmful_variable",
        "throttled",        "precision_not_as_asked",
        "check_failed",     "nonfinite_loss",
        "recompile",        "params_mismatch",
        "out_of_memory",    "kernel_oom_kill",
        "dominated",        "unsupported",
        "model_error",      "worker_error",
        "start_failed",     "exited",
        "killed_by_signal", "pipe_failed",
        "timeout_start",    "timeout_open",
        "timeout_warmup",   "timeout_measure",
        "timeout_check",    "timeout_close",
        "interrupted",      "bad_line",
        "bad_message",      "half_line",
        "stream_closed",    "unexpected_message",
        "unasked_message",  "wrong_version",
        "wrong_block",      "step_differs",
        "loss_diverged",    "no_loss",
    };
    const char *hint = NULL;
    const char *code = NULL;
    for (size_t i = 0; (code = hint_code_at(i, &hint)) != NULL; i++) {
        size_t found = 0;
        for (size_t k = 0; k < ARRAY_COUNT(looked_at); k++)
            found += strcmp(looked_at[k], code) == 0;
        for (size_t k = 0; k < ARRAY_COUNT(quoted); k++)
            found += strcmp(quoted[k], code) == 0;
        cr_expect_eq(found, 1, "%s: does its text print the number that decided?", code);
    }
}
