#include "study_rules.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "measure/quantile.h"
#include "measure/steady.h"

#define FIO_WINDOW            30
#define FIO_DEVIATION_PERCENT 10.0
#define FIO_SLOPE_PERCENT     0.1
#define PYPERF_SAMPLE         20
#define MSER_BATCH            5
#define MSER_BATCHES_MIN      10

/* --- fio's steadystate: a rolling window; the largest distance from its mean, or the slope of its
 * least-squares line a sample, in per cent of the mean --- */

static double window_mean(const double *values, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += values[i];
    return sum / (double)count;
}

static bool fio_deviation(const double *samples, size_t count, size_t *ret_start)
{
    if (count < FIO_WINDOW)
        return false;
    const double *window = samples + count - FIO_WINDOW;
    double mean = window_mean(window, FIO_WINDOW);
    double largest = 0;
    for (size_t i = 0; i < FIO_WINDOW; i++)
        largest = fmax(largest, fabs(window[i] - mean));
    *ret_start = count;
    return 100 * largest / mean < FIO_DEVIATION_PERCENT;
}

static bool fio_slope(const double *samples, size_t count, size_t *ret_start)
{
    if (count < FIO_WINDOW)
        return false;
    const double *window = samples + count - FIO_WINDOW;
    double mean = window_mean(window, FIO_WINDOW);
    double middle = (FIO_WINDOW - 1) / 2.0;
    double products = 0;
    double squares = 0;
    for (size_t i = 0; i < FIO_WINDOW; i++) {
        products += ((double)i - middle) * window[i];
        squares += ((double)i - middle) * ((double)i - middle);
    }
    *ret_start = count;
    return fabs(100 * products / squares / mean) < FIO_SLOPE_PERCENT;
}

/* --- pyperf's calibration of warm-ups: 20 values against the 20 before, by mean, quartiles and
 * median absolute deviation, and the first of them no outlier --- */

struct pyperf_facts {
    double mean, q1, q3, mad;
};

static struct pyperf_facts pyperf_facts_of(const double *values, size_t count)
{
    double sorted[2 * PYPERF_SAMPLE];
    memcpy(sorted, values, count * sizeof(sorted[0]));
    quantile_sort(sorted, count);
    struct pyperf_facts facts = {.mean = window_mean(values, count),
                                 .q1 = quantile_linear(sorted, count, 0.25),
                                 .q3 = quantile_linear(sorted, count, 0.75)};
    double median = quantile_median(sorted, count);
    for (size_t i = 0; i < count; i++)
        sorted[i] = fabs(values[i] - median);
    quantile_sort(sorted, count);
    facts.mad = quantile_median(sorted, count);
    return facts;
}

static bool pyperf_warmup(const double *samples, size_t count, size_t *ret_start)
{
    if (count < 1 + 2 * PYPERF_SAMPLE)
        return false;
    const double *window = samples + count - 2 * PYPERF_SAMPLE;
    struct pyperf_facts rest = pyperf_facts_of(window + 1, 2 * PYPERF_SAMPLE - 1);
    struct pyperf_facts first = pyperf_facts_of(window, PYPERF_SAMPLE);
    struct pyperf_facts second = pyperf_facts_of(window + PYPERF_SAMPLE, PYPERF_SAMPLE);
    *ret_start = count - 2 * PYPERF_SAMPLE;
    double mean_change = first.mean / second.mean - 1;
    return window[0] <= rest.q3 + 1.5 * (rest.q3 - rest.q1) && mean_change >= -0.5 &&
           mean_change <= 0.1 && fabs(first.mad - second.mad) <= 0.1 * second.mad &&
           fabs(first.q1 / second.q1 - 1) <= 0.05 && fabs(first.q3 / second.q3 - 1) <= 0.05;
}

/* --- MSER-5 (White and Spratt 1998; Hoad and others 2008): cut so many batches of five from the
 * front that the standard error of the mean of the rest is smallest; believed when the cut is in
 * the first half --- */

static bool mser_5(const double *samples, size_t count, size_t *ret_start)
{
    size_t batches = count / MSER_BATCH;
    if (batches < MSER_BATCHES_MIN)
        return false;
    double sum = 0;
    double squares = 0;
    double best = INFINITY;
    size_t cut = 0;
    double reference = window_mean(samples, count);
    for (size_t i = batches; i-- > 0;) {
        double value = window_mean(samples + i * MSER_BATCH, MSER_BATCH) - reference;
        sum += value;
        squares += value * value;
        double rest = (double)(batches - i);
        if (rest < MSER_BATCH)
            continue;
        double error = (squares - sum * sum / rest) / (rest * rest);
        if (error <= best) {
            best = error;
            cut = i;
        }
    }
    *ret_start = cut * MSER_BATCH;
    return cut <= batches / 2;
}

/* --- tokmark's first: two windows of a quarter of the samples, 5 to 50, medians within 5 % --- */

static bool quarters(const double *samples, size_t count, size_t *ret_start)
{
    size_t window = count / 4 < 5 ? 5 : count / 4 > 50 ? 50 : count / 4;
    if (count < 2 * window)
        return false;
    double sorted[50];
    memcpy(sorted, samples + count - window, window * sizeof(sorted[0]));
    quantile_sort(sorted, window);
    double last = quantile_median(sorted, window);
    memcpy(sorted, samples + count - 2 * window, window * sizeof(sorted[0]));
    quantile_sort(sorted, window);
    double before = quantile_median(sorted, window);
    *ret_start = count;
    return fabs(last - before) <= 0.05 * before;
}

/* --- tokmark's --- */

static bool tokmark(const double *samples, size_t count, size_t *ret_start)
{
    *ret_start = count;
    return steady_look_at(samples, count).is_settled;
}

const struct study_rule study_rules[] = {
    {"fio, deviation 10 %", fio_deviation, true},
    {"fio, slope 0.1 %", fio_slope, true},
    {"pyperf", pyperf_warmup, true},
    {"MSER-5", mser_5, false},
    {"quarters 5 %", quarters, false},
    {"tokmark", tokmark, false},
};
const size_t study_rules_count = ARRAY_COUNT(study_rules);
