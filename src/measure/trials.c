#include "measure/trials.h"

#include <math.h>

#include "base/status.h"
#include "measure/special.h"

#define UPPER_PROBABILITY 0.975

struct trials trials_of(const struct measure_reading *readings, size_t count)
{
    ASSERT(count >= 1);
    /* About the first, so that trials that are alike lose no digits. */
    double first = readings[0].median;
    double least = first;
    double most = first;
    double sum = 0;
    for (size_t i = 0; i < count; i++) {
        ASSERT(readings[i].median > 0);
        sum += log(readings[i].median / first);
        least = fmin(least, readings[i].median);
        most = fmax(most, readings[i].median);
    }
    double k = (double)count;
    double mean = sum / k;
    struct trials trials = {.count = count, .location = first * exp(mean)};
    if (count < 2)
        return trials;
    double squares = 0;
    for (size_t i = 0; i < count; i++)
        squares += pow(log(readings[i].median / first) - mean, 2);
    double variance = squares / (k - 1);
    double half = special_student_quantile(UPPER_PROBABILITY, k - 1) * sqrt(variance / k);
    trials.location_95 =
        (struct measure_interval){true, first * exp(mean - half), first * exp(mean + half)};
    trials.log_sd = sqrt(variance);
    trials.spread_percent = (struct measure_value){true, 100 * sqrt(expm1(variance))};
    trials.range_percent = (struct measure_value){true, 100 * (most / least - 1)};
    return trials;
}

static double log_width(const struct measure_interval *interval)
{
    return interval->is_known && interval->low > 0 ? log(interval->high / interval->low) : NAN;
}

bool trials_are_wider(const struct trials *trials, const struct measure_reading *readings,
                      size_t count)
{
    double within = NAN;
    for (size_t i = 0; i < count; i++)
        within = fmax(within, log_width(&readings[i].median_95));
    /* Comparing with what is not a number is false. */
    return log_width(&trials->location_95) > within;
}
