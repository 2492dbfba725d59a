/* measure/compare.h - two sides measured alternately: which is faster, and is it certain? Pure.
 *
 * A round runs both sides under the same conditions, in the order A B B A (the next: B A A B), so
 * that whatever drifts evenly takes as much from one as from the other. It gives one number, the
 * logarithm of B's time over A's. The median of the rounds' numbers has an interval from order
 * statistics (interval.h; an exact sign test turned over), which needs no assumption on the noise
 * but that rounds are alike; rounds that resemble their neighbours count for less.
 *
 * The decision: SAME only when the whole interval is within +-threshold; FASTER or SLOWER only when
 * all of it is beyond; else UNDECIDED. With a true difference of at most the threshold, FASTER or
 * SLOWER is reported in at most (1 - confidence) / 2 of comparisons. A noise floor above the
 * threshold takes nothing from it: what is beyond the floor is decided, and the rest is UNDECIDED,
 * never SAME.
 */
#ifndef MEASURE_COMPARE_H
#define MEASURE_COMPARE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"
#include "measure/interval.h"

enum compare_outcome { COMPARE_UNDECIDED, COMPARE_SAME, COMPARE_FASTER, COMPARE_SLOWER };

/* Log ratios (log1p(percent / 100)), >= 0. */
struct compare_limits {
    double threshold; /* the smallest difference that matters; and how precise is precise */
    double floor;     /* what the machine's own noise makes of two equal sides; 0 = not known */
};

struct compare_result {
    size_t rounds_count;
    double effective_count;
    /* Of ln(B / A), the median over rounds or the mean over starts: below 0, B is faster. */
    double log_ratio;
    struct measure_interval log_ratio_ci; /* needs an effective 6 rounds at 95 % */
    double sign_p;                        /* two-sided exact sign test of "no difference" */
    enum compare_outcome outcome;         /* of B against A */
    bool is_precise; /* the interval is no wider than the threshold: enough to decide by */
};

/* ln(B / A) of one round from the times of its four blocks, in the order of their sides, not of
 * running. All > 0. */
double compare_round(double a_first, double a_second, double b_first, double b_second);

/* "undecided", "same", "faster", "slower". */
const char *compare_outcome_name(enum compare_outcome outcome);
/* By an interval alone. */
enum compare_outcome compare_decide(struct measure_interval log_ratio,
                                    const struct compare_limits *limits);
/* Two-sided: twice the smaller tail of a fair coin over the values that are not 0; at most 1. */
double compare_sign_test(const double *values, size_t count);

/* `log_ratios` in time order, rounds_count >= 1. STATUS_NOMEM only. */
MUST_CHECK enum status compare_rounds(const double *log_ratios, size_t rounds_count,
                                      const struct compare_limits *limits, double confidence,
                                      struct compare_result *ret_result, struct err *err);

/* Several starts, each with fresh workers on both sides: `start_log_ratios` are the medians of
 * their rounds, `starts_count` >= 1. Two processes of the same program differ for their whole lives
 * (memory placement), which no number of rounds shows; so what counts is the spread between
 * starts: their mean, and mean +- t(starts - 1) s / sqrt(starts), Student's, at `confidence`; no
 * interval of one start. Replaces ratio, interval, outcome and is_precise of `result`, which are
 * the rounds'. */
void compare_starts(const double *start_log_ratios, size_t starts_count,
                    const struct compare_limits *limits, double confidence,
                    struct compare_result *result);
/* Standard deviation between starts (n - 1), in log ratio; 0 for one. */
double compare_spread(const double *start_log_ratios, size_t starts_count);
/* The numbers of starts after which to look: `first`, then each 1.25 times the last, rounded up. */
size_t compare_start_look_after(size_t first, size_t starts_count);

/* The numbers of rounds after which to look: 10, then each 1.25 times the last, rounded up. A
 * comparison ends at the second look in a row that is precise, never because of what it says. */
size_t compare_look_after(size_t rounds_count);

#endif
