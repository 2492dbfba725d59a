#include "measure/compare.h"

#include <math.h>

#include "measure/quantile.h"
#include "measure/special.h"

#define FIRST_LOOK 10

double compare_round(double a_first, double a_second, double b_first, double b_second)
{
    return (log(b_first / a_first) + log(b_second / a_second)) / 2;
}

const char *compare_outcome_name(enum compare_outcome outcome)
{
    switch (outcome) {
    case COMPARE_UNDECIDED: return "undecided";
    case COMPARE_SAME: return "same";
    case COMPARE_FASTER: return "faster";
    case COMPARE_SLOWER: return "slower";
    }
    return "undecided";
}

enum compare_outcome compare_decide(struct measure_interval log_ratio,
                                    const struct compare_limits *limits)
{
    double beyond = fmax(limits->threshold, limits->floor);
    if (!log_ratio.is_known)
        return COMPARE_UNDECIDED;
    if (log_ratio.high < -beyond)
        return COMPARE_FASTER;
    if (log_ratio.low > beyond)
        return COMPARE_SLOWER;
    bool is_within = log_ratio.low >= -limits->threshold && log_ratio.high <= limits->threshold;
    return is_within && limits->floor <= limits->threshold ? COMPARE_SAME : COMPARE_UNDECIDED;
}

double compare_sign_test(const double *values, size_t count)
{
    size_t below = 0;
    size_t above = 0;
    for (size_t i = 0; i < count; i++) {
        below += values[i] < 0;
        above += values[i] > 0;
    }
    size_t fewer = below < above ? below : above;
    if (below + above == 0)
        return 1;
    return fmin(1, 2 * quantile_binomial_cdf(fewer, below + above, 0.5));
}

enum status compare_rounds(const double *log_ratios, size_t rounds_count,
                           const struct compare_limits *limits, double confidence,
                           struct compare_result *ret_result, struct err *err)
{
    ASSERT(rounds_count >= 1 && limits->threshold >= 0);
    struct interval_quantile median;
    enum status status = interval_of_median(log_ratios, rounds_count, confidence, &median, err);
    if (status != STATUS_OK)
        return status;
    struct measure_interval interval = median.two_sided;
    *ret_result = (struct compare_result){
        .rounds_count = rounds_count,
        .effective_count = median.effective_count,
        .log_ratio = median.value,
        .log_ratio_ci = interval,
        .sign_p = compare_sign_test(log_ratios, rounds_count),
        .outcome = compare_decide(interval, limits),
        .is_precise = interval.is_known && interval.high - interval.low <= limits->threshold,
    };
    return STATUS_OK;
}

static double mean_of(const double *values, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += values[i];
    return sum / (double)count;
}

double compare_spread(const double *start_log_ratios, size_t starts_count)
{
    if (starts_count < 2)
        return 0;
    double mean = mean_of(start_log_ratios, starts_count);
    double squares = 0;
    for (size_t i = 0; i < starts_count; i++)
        squares += pow(start_log_ratios[i] - mean, 2);
    return sqrt(squares / (double)(starts_count - 1));
}

void compare_starts(const double *start_log_ratios, size_t starts_count,
                    const struct compare_limits *limits, double confidence,
                    struct compare_result *result)
{
    ASSERT(starts_count >= 1);
    double count = (double)starts_count;
    double mean = mean_of(start_log_ratios, starts_count);
    struct measure_interval interval = {0};
    if (starts_count > 1) {
        double t = special_student_quantile(1 - (1 - confidence) / 2, count - 1);
        double half = t * compare_spread(start_log_ratios, starts_count) / sqrt(count);
        interval = (struct measure_interval){true, mean - half, mean + half};
    }
    result->log_ratio = mean;
    result->log_ratio_ci = interval;
    result->outcome = compare_decide(interval, limits);
    result->is_precise = interval.is_known && interval.high - interval.low <= limits->threshold;
}

static size_t look_after(size_t first, size_t count)
{
    size_t look = first;
    while (look <= count)
        look += (look + 3) / 4;
    return look;
}

size_t compare_start_look_after(size_t first, size_t starts_count)
{
    return look_after(first, starts_count);
}

size_t compare_look_after(size_t rounds_count)
{
    return look_after(FIRST_LOOK, rounds_count);
}
