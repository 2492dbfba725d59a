/* measure/change.h - has a result changed between two sets of runs, made at different times? Pure.
 * docs/compare.md has the rules and why they are so.
 *
 * Everything is on logarithms: a run's value is y = ln(value). Runs of the same thing differ by
 * more than their own samples say, so the variance of a y has two parts: `within`, by the run's own
 * interval, and between runs. The latter comes from the runs at hand where there are several, and
 * from what the machine has shown before.
 */
#ifndef MEASURE_CHANGE_H
#define MEASURE_CHANGE_H

#include <stdbool.h>
#include <stddef.h>

#include "measure/interval.h"

#define CHANGE_ALPHA 0.05
/* With fewer samples on a side nothing is said. */
#define CHANGE_SAMPLES_MIN 6

/* The runs of one side. */
struct change_side {
    size_t runs_count; /* >= 1 */
    double mean;       /* of the y */
    double squares;    /* sum of their squared deviations from it */
    double within;     /* variance of a y by its run's own samples, mean of the runs; NaN: not
                          known */
};

/* What is known beforehand of the spread between runs. */
struct change_noise {
    double log_sd;   /* standard deviation of y between runs */
    double freedom;  /* how well it is known, as degrees of freedom of a variance; > 0 */
    bool is_assumed; /* nothing is known: runs at hand count alone where they can */
};
/* Where nothing is known: 3 %, as a bound and not an estimate. One run a side of a machine that
 * nothing is known of can show no smaller change than such a machine makes by itself. */
struct change_noise change_noise_assumed(void);

struct change {
    bool is_known;    /* there is an error: all but log_ratio means nothing without */
    double log_ratio; /* ln(new / base) */
    double error;     /* its standard error */
    double freedom;   /* of the error, as degrees of freedom, >= 1 */
};

/* With S^2 the variance within sides (n - 2 degrees of freedom), b that between runs known before,
 * and w that within runs, the variance of the difference is estimated by both: (f0 V0 + f V1) / (f0
 * + f), where V0 = b (1 / n_base + 1 / n_new) + w_base / n_base + w_new / n_new and V1 = S^2 (1 /
 * n_base + 1 / n_new) (the moderated t of Smyth, "Linear models and empirical Bayes methods", 2004;
 * f0 by Satterthwaite, at most 20 where there is an S^2). It is never under what the samples alone
 * leave open. Student's t. */
struct change change_of(const struct change_side *base, const struct change_side *new_side,
                        const struct change_noise *noise);

/* The interval of log_ratio; not known where the change is not. */
struct measure_interval change_interval(const struct change *change, double confidence);
/* Two-sided, of no change at all; 1 where the change is not known. */
double change_p(const struct change *change);
/* Is p <= limit? For a limit up to CHANGE_ALPHA most changes are told without computing it. */
bool change_is_significant(const struct change *change, double limit);

/* How many of the smallest p values are significant among `tests_count` of a family, by Holm's
 * step-down method ("A simple sequentially rejective multiple test procedure", 1979). `smallest`:
 * ascending, all that are not over alpha. */
size_t change_holm(const double *smallest, size_t count, size_t tests_count, double alpha);

enum change_outcome { CHANGE_UNDECIDED, CHANGE_SAME, CHANGE_BETTER, CHANGE_WORSE };

/* How the change of one metric is judged. */
struct change_rule {
    double least;          /* smallest change that counts, as a log ratio, > 0 */
    bool is_higher_better; /* else lower */
    bool is_significant;   /* its p is, among all of the call */
};

/* WORSE, BETTER: significant, at least `least`, and the 95 % interval is beyond half of it. SAME:
 * the 90 % interval is within +-least (two one-sided tests at 5 %; Schuirmann, "A comparison of the
 * two one-sided tests procedure and the power approach", 1987). Else UNDECIDED. */
enum change_outcome change_decide(const struct change *change, const struct change_rule *rule);
/* Of a value that a run reads once, such as memory: by its size alone where there is no interval or
 * no spread between runs, else it must be significant too. */
enum change_outcome change_decide_reading(const struct change *change,
                                          const struct change_rule *rule);

#endif
