#include "measure/summary.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "measure/quantile.h"

#define CONFIDENCE 0.95

static struct measure_figure quantile_figure(const double *sorted, size_t count, double q)
{
    if (count < quantile_samples_min(q, CONFIDENCE))
        return (struct measure_figure){0};
    return (struct measure_figure){true, quantile_nearest_rank(sorted, count, q)};
}

/* Welford's recurrence: no cancellation when the spread is tiny beside the mean. */
static struct measure_figure sample_stddev(const double *samples, size_t count)
{
    if (count < 2)
        return (struct measure_figure){0};
    double mean = 0;
    double squares = 0;
    for (size_t i = 0; i < count; i++) {
        double difference = samples[i] - mean;
        mean += difference / (double)(i + 1);
        squares += difference * (samples[i] - mean);
    }
    return (struct measure_figure){true, sqrt(squares / (double)(count - 1))};
}

static struct measure_interval median_interval(const double *sorted, size_t count)
{
    size_t low = 0;
    size_t high = 0;
    if (!quantile_interval_ranks(count, 0.5, CONFIDENCE, &low, &high))
        return (struct measure_interval){0};
    return (struct measure_interval){true, sorted[low - 1], sorted[high - 1]};
}

enum status measure_summarize(const double *samples, size_t samples_count, uint64_t steps_count,
                              uint64_t window_ns, uint64_t tokens_per_step,
                              struct measure_summary *ret_summary, struct err *err)
{
    ASSERT(samples_count >= 1 && steps_count >= 1);
    double *sorted = calloc(samples_count, sizeof(*sorted));
    if (sorted == NULL)
        return ERR(err, STATUS_NOMEM, "no memory to sort %zu samples", samples_count);
    memcpy(sorted, samples, samples_count * sizeof(*sorted));
    quantile_sort(sorted, samples_count);

    double steps = (double)steps_count;
    double tokens = (double)tokens_per_step;
    struct measure_summary summary = {
        .samples_count = samples_count,
        .steps_count = steps_count,
        .window_ns = window_ns,
        .tokens_per_second = tokens * steps * 1e9 / (double)window_ns,
        .mean_ns = (double)window_ns / steps,
        .min_ns = sorted[0],
        .max_ns = sorted[samples_count - 1],
        .stddev_ns = sample_stddev(samples, samples_count),
        .median_ns = quantile_median(sorted, samples_count),
        .median_95 = median_interval(sorted, samples_count),
        .p90_ns = quantile_figure(sorted, samples_count, 0.9),
        .p95_ns = quantile_figure(sorted, samples_count, 0.95),
        .p99_ns = quantile_figure(sorted, samples_count, 0.99),
        .p999_ns = quantile_figure(sorted, samples_count, 0.999),
    };
    if (summary.median_95.is_known && summary.median_95.low > 0)
        summary.tokens_per_second_95 = (struct measure_interval){
            true, tokens * 1e9 / summary.median_95.high, tokens * 1e9 / summary.median_95.low};
    free(sorted);
    *ret_summary = summary;
    return STATUS_OK;
}
