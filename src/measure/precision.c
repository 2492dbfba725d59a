#include "measure/precision.h"

#include <math.h>
#include <stdio.h>

#include "base/num.h"

#define CORRELATED_COUNT 30 /* independent samples would have an interval by far */
#define SIDES_BYTES      80

double precision_percent(const struct precision *precision)
{
    const struct measure_interval *median_95 = &precision->median_95;
    if (!median_95->is_known)
        return INFINITY;
    double side =
        fmax(median_95->high - precision->median_ns, precision->median_ns - median_95->low);
    if (side == 0)
        return 0;
    return precision->median_ns > 0 ? 100 * side / precision->median_ns : INFINITY;
}

/* "-25 / +50 %", with the digits that tell the wider side from the limit. */
static void format_sides(const struct precision *precision, double limit_percent,
                         char text[SIDES_BYTES])
{
    double per_percent = precision->median_ns / 100;
    int digits = num_digits_apart(precision_percent(precision), limit_percent);
    (void)snprintf(text, SIDES_BYTES, "-%.*g / +%.*g %%", digits,
                   (precision->median_ns - precision->median_95.low) / per_percent, digits,
                   (precision->median_95.high - precision->median_ns) / per_percent);
}

static void format_few(const struct precision *precision, char text[REASON_TEXT_BYTES])
{
    int digits = num_digits_apart(precision->effective_count, precision->needed_count);
    (void)snprintf(
        text, REASON_TEXT_BYTES,
        "%zu sample%s with an effective sample size of %.*g, and a 95 %% interval of the "
        "median needs %.*g",
        precision->samples_count, num_plural(precision->samples_count), digits,
        precision->effective_count, digits, precision->needed_count);
}

void precision_format_time(const struct precision_time *time, char text[PRECISION_TIME_BYTES])
{
    char measured[NUM_TEXT_BYTES], paused[NUM_TEXT_BYTES], aside[NUM_TEXT_BYTES];
    num_format_duration(time->measured_ns, measured);
    num_format_duration(time->paused_ns, paused);
    num_format_duration(time->aside_ns, aside);
    if (time->paused_ns + time->aside_ns == 0)
        (void)snprintf(text, PRECISION_TIME_BYTES, "%s", measured);
    else
        (void)snprintf(text, PRECISION_TIME_BYTES,
                       "%s (pauses for others took %s, disturbed blocks %s)", measured, paused,
                       aside);
}

void precision_add_target(const struct precision *precision, const struct precision_time *time,
                          double target_percent, struct reasons *reasons)
{
    char measured[PRECISION_TIME_BYTES];
    precision_format_time(time, measured);
    if (!precision->median_95.is_known) {
        char few[REASON_TEXT_BYTES];
        format_few(precision, few);
        reasons_add(reasons, PRECISION_TARGET_NOT_MET,
                    "%.250s; that was after %s, the target is +-%g %%", few, measured,
                    target_percent);
        return;
    }
    char sides[SIDES_BYTES];
    format_sides(precision, target_percent, sides);
    reasons_add(reasons, PRECISION_TARGET_NOT_MET,
                "the median is known to %s, the target is +-%g %%; after %zu sample%s in %s "
                "(effective sample size %.3g) it is %.6g ms, 95 %% interval %.6g to %.6g ms",
                sides, target_percent, precision->samples_count,
                num_plural(precision->samples_count), measured, precision->effective_count,
                precision->median_ns / 1e6, precision->median_95.low / 1e6,
                precision->median_95.high / 1e6);
}

void precision_add_imprecise(const struct precision *precision, struct reasons *reasons)
{
    if (precision_percent(precision) <= PRECISION_WIDE_PERCENT ||
        (precision->samples_count >= CORRELATED_COUNT && !precision->median_95.is_known))
        return;
    char text[REASON_TEXT_BYTES];
    if (!precision->median_95.is_known) {
        format_few(precision, text);
        reasons_add(reasons, PRECISION_IMPRECISE, "%s", text);
        return;
    }
    format_sides(precision, PRECISION_WIDE_PERCENT, text);
    reasons_add(reasons, PRECISION_IMPRECISE,
                "the median is known to %s only (the limit is +-%g %%), from %zu sample%s; it is "
                "%.6g ms, 95 %% interval %.6g to %.6g ms",
                text, PRECISION_WIDE_PERCENT, precision->samples_count,
                num_plural(precision->samples_count), precision->median_ns / 1e6,
                precision->median_95.low / 1e6, precision->median_95.high / 1e6);
}

void precision_add_correlated(const struct precision *precision, struct reasons *reasons)
{
    if (precision->samples_count < CORRELATED_COUNT || precision->median_95.is_known)
        return;
    char few[REASON_TEXT_BYTES];
    format_few(precision, few);
    reasons_add(reasons, PRECISION_CORRELATED, "%s; they are strongly autocorrelated", few);
}
