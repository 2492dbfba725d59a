#include "measure/interval.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/num.h"
#include "measure/quantile.h"
#include "measure/series.h"
#include "measure/special.h"

#define RANK_STEPS_MAX 200
/* Batch length in units of t - 1 / t: wished, and still borne. */
#define BATCH_WISHED 10.0
#define BATCH_BORNE  5.0

/* --- ranks --- */

/* The risk of one side, made smaller for a number of samples that is itself only estimated. */
static double widened_risk(double risk, double freedom)
{
    if (!isfinite(freedom))
        return risk;
    return special_normal_cdf(special_student_quantile(risk, freedom));
}

/* The rank r in (0, n + 1) with P(X_(r) <= x_q) = probability, which falls as r grows. */
static double rank_of(double n, double q, double probability)
{
    double low = 0;
    double high = n + 1;
    /* The normal approximation is close; a narrow bracket around it saves half of the steps. */
    double deviation = sqrt(n * q * (1 - q)) + 1;
    double guess = (n + 1) * q - special_normal_quantile(probability) * deviation;
    double edges[] = {guess - deviation, guess + deviation};
    for (size_t i = 0; i < ARRAY_COUNT(edges); i++) {
        double edge = edges[i];
        if (!(edge > low && edge < high))
            continue;
        if (special_beta_cdf(q, edge, n + 1 - edge) >= probability)
            low = edge;
        else
            high = edge;
    }
    for (int i = 0; i < RANK_STEPS_MAX && high - low > 1e-13 * high; i++) {
        double middle = low + (high - low) / 2;
        if (special_beta_cdf(q, middle, n + 1 - middle) >= probability)
            low = middle;
        else
            high = middle;
    }
    return low + (high - low) / 2;
}

double interval_count_needed(double q, double confidence, double freedom)
{
    double risk = widened_risk((1 - confidence) / 2, freedom);
    return fmax(log(risk) / log(fmax(q, 1 - q)), 1);
}

bool interval_ranks(double effective_count, double q, double confidence, double freedom,
                    double *ret_low, double *ret_high)
{
    ASSERT(q > 0 && q < 1 && confidence > 0 && confidence < 1 && freedom > 0);
    double n = effective_count;
    double risk = widened_risk((1 - confidence) / 2, freedom);
    /* Even the smallest and the largest sample must be far enough out. */
    if (!(n >= 1) || pow(1 - q, n) > risk || pow(q, n) > risk)
        return false;
    *ret_low = fmax(rank_of(n, q, 1 - risk), 1);
    *ret_high = fmin(rank_of(n, q, risk), n);
    return true;
}

bool interval_upper_rank(double effective_count, double q, double confidence, double freedom,
                         double *ret_high)
{
    ASSERT(q > 0 && q < 1 && confidence > 0 && confidence < 1 && freedom > 0);
    double n = effective_count;
    double risk = widened_risk(1 - confidence, freedom);
    /* As quantile_samples_min() counts: 0.95^59 and the like may round across. */
    if (!(n >= 1) || pow(q, n) > risk * (1 + 1e-12))
        return false;
    *ret_high = fmin(rank_of(n, q, risk), n);
    return true;
}

/* The sample at a rank among `effective_count`, by the same relative place, between neighbours in
 * proportion. */
static double value_at(const double *sorted, size_t count, double effective_count, double rank)
{
    double n = (double)count;
    double place = rank * (n + 1) / (effective_count + 1);
    place = fmin(fmax(place, 1), n);
    double whole = floor(place);
    size_t index = (size_t)whole - 1;
    if (index + 1 >= count)
        return sorted[count - 1];
    return sorted[index] + (place - whole) * (sorted[index + 1] - sorted[index]);
}

/* --- quantiles --- */

/* Of one sample nothing resembles anything. */
static enum status score_lag1(const double *samples, size_t count, double *ret_rho, struct err *err)
{
    *ret_rho = 0;
    return count < 2 ? STATUS_OK : series_score_lag1(samples, count, ret_rho, err);
}

enum status interval_of_quantile(const double *samples, const double *sorted, size_t count,
                                 double q, double confidence,
                                 struct interval_quantile *ret_quantile, struct err *err)
{
    double rho = 0;
    enum status status = score_lag1(samples, count, &rho, err);
    if (status != STATUS_OK)
        return status;
    return interval_of_quantile_by(samples, sorted, count, rho, q, confidence, ret_quantile, err);
}

enum status interval_of_quantile_by(const double *samples, const double *sorted, size_t count,
                                    double rho, double q, double confidence,
                                    struct interval_quantile *ret_quantile, struct err *err)
{
    ASSERT(count >= 1);
    struct interval_quantile quantile = {.effective_count = 1};
    quantile.value =
        q == 0.5 ? quantile_median(sorted, count) : quantile_nearest_rank(sorted, count, q);
    struct series_time time = {.effective_count = 1, .freedom = 1};
    if (count >= 2) {
        enum status status =
            series_quantile_time(samples, count, q, quantile.value, rho, &time, err);
        if (status != STATUS_OK)
            return status;
    }
    double n = time.effective_count;
    quantile.effective_count = n;
    quantile.needed_count = interval_count_needed(q, confidence, time.freedom);
    double low = 0;
    double high = 0;
    if (interval_ranks(n, q, confidence, time.freedom, &low, &high))
        quantile.two_sided = (struct measure_interval){true, value_at(sorted, count, n, low),
                                                       value_at(sorted, count, n, high)};
    if (interval_upper_rank(n, q, confidence, time.freedom, &high))
        quantile.upper = (struct measure_value){true, value_at(sorted, count, n, high)};
    *ret_quantile = quantile;
    return STATUS_OK;
}

enum status interval_of_median(const double *samples, size_t count, double confidence,
                               struct interval_quantile *ret_median, struct err *err)
{
    double *sorted = calloc(count, sizeof(*sorted));
    if (sorted == NULL)
        return ERR(err, STATUS_NOMEM, "no memory to sort %zu samples", count);
    memcpy(sorted, samples, count * sizeof(*sorted));
    quantile_sort(sorted, count);
    enum status status =
        interval_of_quantile(samples, sorted, count, 0.5, confidence, ret_median, err);
    free(sorted);
    return status;
}

bool interval_log_variance(const struct measure_extremes *extremes, double *ret_variance)
{
    double m = extremes->effective_count;
    if (!(m > 1) || !(extremes->low > 0))
        return false;
    double deviate = special_normal_quantile(1 - pow(0.5, m));
    *ret_variance = pow(log(extremes->high / extremes->low) / (2 * deviate), 2);
    return true;
}

/* --- ratios --- */

static double percent_of_log(double log_ratio)
{
    return 100 * expm1(log_ratio);
}

struct measure_ratio interval_of_ratio(double first, struct measure_interval first_95,
                                       double second, struct measure_interval second_95)
{
    struct measure_ratio ratio = {0};
    if (!(first > 0) || !(second > 0))
        return ratio;
    double change = log(second / first);
    ratio.percent = (struct measure_value){true, percent_of_log(change)};
    if (!first_95.is_known || !second_95.is_known || first_95.low <= 0 || second_95.low <= 0)
        return ratio;
    double down = hypot(log(second / second_95.low), log(first_95.high / first));
    double up = hypot(log(second_95.high / second), log(first / first_95.low));
    ratio.percent_95 =
        (struct measure_interval){true, percent_of_log(change - down), percent_of_log(change + up)};
    return ratio;
}

bool interval_ratio_is_beyond(const struct measure_ratio *ratio, double limit_percent)
{
    const struct measure_interval *interval = &ratio->percent_95;
    return interval->is_known && (interval->low > limit_percent || interval->high < -limit_percent);
}

int interval_digits_beyond(const struct measure_interval *interval, double limit_percent)
{
    return num_digits_apart(fmin(fabs(interval->low), fabs(interval->high)), limit_percent);
}

/* --- mean --- */

static double stddev_of(const double *values, size_t count)
{
    double mean = series_mean(values, count);
    double squares = 0;
    for (size_t i = 0; i < count; i++)
        squares += (values[i] - mean) * (values[i] - mean);
    return sqrt(squares / (double)(count - 1));
}

enum status interval_of_mean(const double *samples, size_t count, double rho, double confidence,
                             struct interval_mean *ret_mean, struct err *err)
{
    ASSERT(count >= 1 && confidence > 0 && confidence < 1);
    struct interval_mean mean = {.value = series_mean(samples, count), .effective_count = 1};
    if (count < INTERVAL_BATCHES_MIN) {
        *ret_mean = mean;
        return STATUS_OK;
    }
    struct series_time time;
    enum status status = series_mean_time(samples, count, rho, &time, err);
    if (status != STATUS_OK)
        return status;
    mean.effective_count = time.effective_count;
    double excess = time.time - 1 / time.time;
    size_t longest = count / INTERVAL_BATCHES_MIN;
    size_t shortest = (count + INTERVAL_BATCHES_MAX - 1) / INTERVAL_BATCHES_MAX;
    size_t length =
        (size_t)fmin(fmax(ceil(BATCH_WISHED * excess), (double)shortest), (double)longest);
    mean.batches_count = count / length;
    double *batches = calloc(mean.batches_count, sizeof(*batches));
    if (batches == NULL)
        return ERR(err, STATUS_NOMEM, "no memory for %zu batches", mean.batches_count);
    const double *first = samples + count % length;
    for (size_t i = 0; i < mean.batches_count; i++)
        batches[i] = series_mean(first + i * length, length);
    mean.batches_lag1 = series_lag1(batches, mean.batches_count);
    if ((double)length >= BATCH_BORNE * excess) {
        double batches_count = (double)mean.batches_count;
        double error = stddev_of(batches, mean.batches_count) / sqrt(batches_count);
        double side = error * special_student_quantile((1 + confidence) / 2, batches_count - 1);
        mean.two_sided = (struct measure_interval){true, mean.value - side, mean.value + side};
    }
    free(batches);
    *ret_mean = mean;
    return STATUS_OK;
}
