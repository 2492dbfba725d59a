/* measure/next_run.h - within which bounds will another run's median lie? A run sees one state of
 * its machine; what the next one sees differs by what runs differ, and by what the samples of both
 * leave open. Pure. docs/metrics.md, "The next run", has the rule; docs/studies.md what it covers.
 */
#ifndef MEASURE_NEXT_RUN_H
#define MEASURE_NEXT_RUN_H

#include <stdbool.h>
#include <stddef.h>

#include "measure/interval.h"
#include "spec/verdict.h"

/* So many runs count, this one and the newest before it. More would remember a machine as it was.
 */
#define NEXT_RUN_RUNS_MAX 31
/* Other cells count for no more than so many further runs of this one. */
#define NEXT_RUN_PRIOR_FREEDOM_MAX 4.0
/* Student's t of fewer is not used: with two runs alone it is 8.0 instead of 12.7, and holds 92 of
 * 100 runs, as an interval of a factor of 100 would help nobody. */
#define NEXT_RUN_FREEDOM_MIN 1.25
/* Independent samples that a first run needs: of two the interval would be of a factor of 30. */
#define NEXT_RUN_FEW_MIN 2.5
/* What a cell of the same device counts for, against one of the same kind. */
#define NEXT_RUN_DEVICE_WEIGHT 0.25
/* Student's t of few runs takes a large spread for a bell curve's, where it is that of levels or of
 * busy neighbours: a factor of 30 follows from two runs of which one took half as long again.
 * Beyond NEXT_RUN_FAR (+25, -20 %) it counts no further than NEXT_RUN_REACH times the logarithm of
 * the largest ratio between two runs of one cell that was seen. */
#define NEXT_RUN_FAR   0.22314355131420976 /* ln 1.25 */
#define NEXT_RUN_REACH 1.5

/* How far the runs of one other cell lie apart. */
struct next_run_spread {
    double variance; /* of the logarithms of its runs' medians (n - 1) */
    double freedom;  /* n - 1 >= 1 */
    double weight;   /* 1: of the same kind; less: of another */
    double range;    /* logarithm of the slowest run over the fastest */
};

/* What other cells let one expect: a variance as if from `freedom` + 1 runs; under 1: nothing,
 * where this cell has but one run. */
struct next_run_prior {
    double variance, freedom;
    double range; /* the largest of theirs */
};

/* By all of their runs, and by those that others on the machine had no part in. */
struct next_run_priors {
    struct next_run_prior all, undisturbed;
};

/* Their variances' mean, weighted by weight times freedom. A median, or a mean of logarithms, would
 * not let one cell's busy run decide, but leaves out the second level of a machine that has two:
 * they hold 67 to 82 of 100 first runs there (docs/studies.md). */
struct next_run_prior next_run_prior_of(const struct next_run_spread *spreads, size_t count);

/* Runs of one thing to the spread between them; 2 runs or more, every median over 0. */
struct next_run_spread next_run_spread_of(const struct measure_reading *runs, size_t count,
                                          double weight);

enum next_run_basis {
    NEXT_RUN_UNKNOWN,  /* hardly a sample: nothing says how well even this run is known */
    NEXT_RUN_THIS_RUN, /* its own samples alone: as if machines were always the same */
    NEXT_RUN_KIND,     /* what other cells have shown here */
    NEXT_RUN_CELL,     /* its own earlier runs, too */
    NEXT_RUN_TRIALS,   /* its own runs, all of this call */
};

struct next_run {
    enum next_run_basis basis;
    struct measure_interval interval; /* in the unit of the medians; holds all of the runs */
    /* Standard deviation between runs in %, without what samples leave open; runs or kind. */
    struct measure_value between_percent;
    double freedom; /* behind it; 0 for NEXT_RUN_THIS_RUN */
};

/* `runs`: in time order, 1 <= count <= NEXT_RUN_RUNS_MAX, the last is this one; every median over
 * 0. `are_disturbed`: which of them others on the machine had a part in, NULL for none.
 * `are_trials`: all are of this call. Student's prediction interval for one more median, about the
 * runs' geometric mean, on the logarithms; never without a run that was seen, as a machine of two
 * levels is not normal. What others do makes a run slower, never faster: the low end is that of the
 * undisturbed runs and the undisturbed prior, where this run is one of them or there are two. */
struct next_run next_run_of(const struct measure_reading *runs, const bool *are_disturbed,
                            size_t count, bool are_trials, struct next_run_priors priors,
                            double confidence);

/* Adds `runs_disagree` where all that `own` may be (its interval, or without one all of its
 * samples) lies outside of what the `runs_count` runs before it let one expect, by more than
 * `tick`. In ms. */
void next_run_add_unlike(const struct next_run *expected, size_t runs_count,
                         const struct measure_reading *own, double tick, struct reasons *reasons);

/* "trials", "cell", "kind", "this_run"; NULL for unknown. */
const char *next_run_basis_name(enum next_run_basis basis);

#endif
