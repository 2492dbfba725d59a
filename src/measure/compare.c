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
    case COMPARE_OUTCOME_UNDECIDED: return "undecided";
    case COMPARE_OUTCOME_SAME: return "same";
    case COMPARE_OUTCOME_FASTER: return "faster";
    case COMPARE_OUTCOME_SLOWER: return "slower";
    }
    return "undecided";
}

enum compare_outcome compare_decide(struct measure_interval log_ratio,
                                    const struct compare_limits *limits)
{
    double beyond = fmax(limits->threshold, limits->floor);
    if (!log_ratio.is_known)
        return COMPARE_OUTCOME_UNDECIDED;
    if (log_ratio.high < -beyond)
        return COMPARE_OUTCOME_FASTER;
    if (log_ratio.low > beyond)
        return COMPARE_OUTCOME_SLOWER;
    bool is_within = log_ratio.low >= -limits->threshold && log_ratio.high <= limits->threshold;
    return is_within && limits->floor <= limits->threshold ? COMPARE_OUTCOME_SAME
                                                           : COMPARE_OUTCOME_UNDECIDED;
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

/* --- starts --- */

struct compare_prior compare_prior_built_in(void)
{
    return (struct compare_prior){.sd = 0.015, .freedom = 4};
}

static double mean_of(const struct compare_start *starts, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += starts[i].log_ratio;
    return sum / (double)count;
}

static double squares_of(const struct compare_start *starts, size_t count)
{
    double mean = mean_of(starts, count);
    double squares = 0;
    for (size_t i = 0; i < count; i++)
        squares += pow(starts[i].log_ratio - mean, 2);
    return squares;
}

double compare_spread(const struct compare_start *starts, size_t starts_count)
{
    if (starts_count < 2)
        return 0;
    return sqrt(squares_of(starts, starts_count) / (double)(starts_count - 1));
}

/* The standard error of the median of independent normal values, over that of their mean. */
#define MEDIAN_FACTOR 1.2533141373155003

enum status compare_start_of(const double *log_ratios, size_t rounds_count,
                             struct compare_start *ret_start, struct err *err)
{
    struct interval_quantile median;
    enum status status = interval_of_median(log_ratios, rounds_count, 0.95, &median, err);
    if (status != STATUS_OK)
        return status;
    struct compare_start start = {.log_ratio = median.value};
    const struct measure_interval *interval = &median.two_sided;
    if (interval->is_known) {
        double half = (interval->high - interval->low) / 2;
        start.error = (struct measure_value){true, half / special_normal_quantile(0.975)};
    } else if (rounds_count >= COMPARE_ROUNDS_MIN) {
        double mean = 0;
        double squares = 0;
        for (size_t i = 0; i < rounds_count; i++)
            mean += log_ratios[i] / (double)rounds_count;
        for (size_t i = 0; i < rounds_count; i++)
            squares += pow(log_ratios[i] - mean, 2);
        double variance = squares / (double)(rounds_count - 1);
        double effective = fmax(median.effective_count, 1);
        start.error = (struct measure_value){true, MEDIAN_FACTOR * sqrt(variance / effective)};
    }
    *ret_start = start;
    return STATUS_OK;
}

/* The variance between starts and how many degrees of freedom it is known with; false: not known.
 */
static bool variance_of(const struct compare_start *starts, size_t count,
                        const struct compare_prior *prior, double *ret_variance,
                        double *ret_freedom)
{
    double own_freedom = (double)count - 1;
    double squares = squares_of(starts, count);
    if (count >= COMPARE_OWN_STARTS) {
        *ret_variance = squares / own_freedom;
        *ret_freedom = own_freedom;
        return true;
    }
    double within = 0;
    for (size_t i = 0; i < count; i++) {
        if (!starts[i].error.is_known)
            return false;
        within += pow(starts[i].error.value, 2) / (double)count;
    }
    *ret_freedom = prior->freedom + own_freedom;
    *ret_variance = (prior->freedom * (pow(prior->sd, 2) + within) + squares) / *ret_freedom;
    return true;
}

void compare_starts(const struct compare_start *starts, size_t starts_count,
                    const struct compare_prior *prior, const struct compare_limits *limits,
                    double confidence, struct compare_result *result)
{
    ASSERT(starts_count >= 1);
    double mean = mean_of(starts, starts_count);
    double variance = 0;
    double freedom = 0;
    struct measure_interval interval = {0};
    if (variance_of(starts, starts_count, prior, &variance, &freedom)) {
        double t = special_student_quantile(1 - (1 - confidence) / 2, freedom);
        double half = t * sqrt(variance / (double)starts_count);
        interval = (struct measure_interval){true, mean - half, mean + half};
    }
    result->log_ratio = mean;
    result->log_ratio_ci = interval;
    result->outcome = compare_decide(interval, limits);
}

size_t compare_look_after(size_t rounds_count)
{
    size_t look = FIRST_LOOK;
    while (look <= rounds_count)
        look += (look + 3) / 4;
    return look;
}
