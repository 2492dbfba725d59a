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

enum compare_outcome {
    COMPARE_OUTCOME_UNDECIDED,
    COMPARE_OUTCOME_SAME,
    COMPARE_OUTCOME_FASTER,
    COMPARE_OUTCOME_SLOWER
};

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
    bool is_precise;                      /* the rounds' interval is no wider than the threshold */
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

/* --- starts: each with fresh workers on both sides --- */

#define COMPARE_OWN_STARTS 5 /* from so many on the spread between them is known by themselves */
#define COMPARE_ROUNDS_MIN 3 /* of a start that shall say how much its rounds leave open */

struct compare_start {
    double log_ratio;           /* the median of its rounds */
    struct measure_value error; /* the standard error that its rounds leave */
};

/* What is known beforehand of the standard deviation between starts of ln(B / A), and with how many
 * degrees of freedom. */
struct compare_prior {
    double sd;
    double freedom;
};

/* Where nothing is known of the machine: 1.5 %, as good as known from four comparisons. Two
 * processes of a program differ by about 1 % for their whole lives, so two sides by 1.4 %
 * (docs/studies.md). */
struct compare_prior compare_prior_built_in(void);

/* Of the rounds of one start, rounds_count >= 1. By the interval of their median; where they are
 * too few for one by their standard deviation. STATUS_NOMEM only. */
MUST_CHECK enum status compare_start_of(const double *log_ratios, size_t rounds_count,
                                        struct compare_start *ret_start, struct err *err);

/* Two processes of the same program differ for their whole lives (memory placement), which no
 * number of rounds shows; so what counts is the spread between starts: their mean x, and x +-
 * t(freedom) s / sqrt(k), Student's, at `confidence`. From COMPARE_OWN_STARTS on, s is theirs, with
 * k - 1 degrees of freedom. Of fewer, s^2 = (f (sd^2 + w^2) + sum (x_i - x)^2) / (f + k - 1), with
 * f + k - 1 degrees: the prior (sd, f) and what the rounds leave open (w^2, the mean of error^2),
 * pooled with what the starts show. No interval where an `error` is not known. Replaces ratio,
 * interval and outcome of `result`, which are the rounds'. */
void compare_starts(const struct compare_start *starts, size_t starts_count,
                    const struct compare_prior *prior, const struct compare_limits *limits,
                    double confidence, struct compare_result *result);
/* Standard deviation between starts (n - 1), in log ratio; 0 for one. */
double compare_spread(const struct compare_start *starts, size_t starts_count);

/* The numbers of a start's rounds after which to look whether it is precise: 10, then each 1.25
 * times the last, rounded up. A start ends at the second look in a row that is, never because of
 * what it says. */
size_t compare_look_after(size_t rounds_count);

#endif
