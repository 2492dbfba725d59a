#include "measure/summary.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "measure/quantile.h"
#include "measure/series.h"

#define CONFIDENCE 0.95

/* Welford's recurrence: no cancellation when the spread is tiny compared with the mean. */
static struct measure_value sample_stddev(const double *samples, size_t count)
{
    if (count < 2)
        return (struct measure_value){0};
    double mean = 0;
    double squares = 0;
    for (size_t i = 0; i < count; i++) {
        double difference = samples[i] - mean;
        mean += difference / (double)(i + 1);
        squares += difference * (samples[i] - mean);
    }
    return (struct measure_value){true, sqrt(squares / (double)(count - 1))};
}

/* The quantile and its bound from above. */
static enum status add_tail(const double *samples, const double *sorted, size_t count, double rho,
                            double q, struct measure_value *ret_value,
                            struct measure_value *ret_upper, struct err *err)
{
    if (count < quantile_samples_min(q, CONFIDENCE))
        return STATUS_OK;
    struct interval_quantile found;
    enum status status =
        interval_of_quantile_by(samples, sorted, count, rho, q, CONFIDENCE, &found, err);
    if (status != STATUS_OK)
        return status;
    *ret_value = (struct measure_value){true, found.value};
    *ret_upper = found.upper;
    return STATUS_OK;
}

/* Everything that needs to know how much the samples resemble their neighbours. */
static enum status add_intervals(const double *samples, const double *sorted, size_t count,
                                 struct measure_summary *summary, struct err *err)
{
    struct interval_quantile median;
    struct interval_mean mean;
    double rho = 0; /* known once for all of them */
    enum status status = count < 2 ? STATUS_OK : series_score_lag1(samples, count, &rho, err);
    if (status == STATUS_OK)
        status =
            interval_of_quantile_by(samples, sorted, count, rho, 0.5, CONFIDENCE, &median, err);
    if (status == STATUS_OK)
        status = interval_of_mean(samples, count, rho, CONFIDENCE, &mean, err);
    if (status != STATUS_OK)
        return status;
    summary->median_ns = median.value;
    summary->median_95 = median.two_sided;
    summary->effective_count = median.effective_count;
    summary->needed_count = median.needed_count;
    summary->samples_mean_ns = mean.value;
    summary->mean_95 = mean.two_sided;
    const struct {
        double q;
        struct measure_value *value;
        struct measure_value *upper;
    } tails[] = {{0.9, &summary->p90_ns, &summary->p90_upper_95_ns},
                 {0.95, &summary->p95_ns, &summary->p95_upper_95_ns},
                 {0.99, &summary->p99_ns, &summary->p99_upper_95_ns},
                 {0.999, &summary->p999_ns, &summary->p999_upper_95_ns}};
    for (size_t i = 0; i < ARRAY_COUNT(tails) && status == STATUS_OK; i++)
        status =
            add_tail(samples, sorted, count, rho, tails[i].q, tails[i].value, tails[i].upper, err);
    return status;
}

/* That of the samples' mean, turned over: the window is proportional to it. */
static void add_rate_interval(struct measure_summary *summary)
{
    const struct measure_interval *mean_95 = &summary->mean_95;
    if (!mean_95->is_known || !(mean_95->low > 0) || summary->window_ns == 0)
        return;
    double total = summary->tokens_per_second * summary->samples_mean_ns;
    summary->tokens_per_second_95 =
        (struct measure_interval){true, total / mean_95->high, total / mean_95->low};
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
        .lag1 = series_lag1(samples, samples_count),
        .outliers = outliers_of(sorted, samples_count),
    };
    enum status status = add_intervals(samples, sorted, samples_count, &summary, err);
    free(sorted);
    if (status != STATUS_OK)
        return status;
    add_rate_interval(&summary);
    *ret_summary = summary;
    return STATUS_OK;
}
