/* measure/curve.h - the course of a training: is it stable, and do two of them agree? Pure.
 *
 * Steps are counted from 1, as people count them; step 0 = none.
 */
#ifndef MEASURE_CURVE_H
#define MEASURE_CURVE_H

#include <stdbool.h>
#include <stddef.h>

#include "spec/cell.h"

#define CURVE_SPIKE_WINDOW 20  /* losses before the one that is looked at */
#define CURVE_SPIKE_Z      6.0 /* standard deviations over their mean: a spike */
/* The deviation counts as at least this share of the mean: a flat curve has no spikes. */
#define CURVE_SPIKE_SHARE 0.001
/* Diverged: the losses end at over this many times the first one. */
#define CURVE_DIVERGED_TIMES 1.2
/* Fewer gradient norms than this have no 95th percentile (quantile_samples_min()). */
#define CURVE_NORMS_MIN 59

/* Borrowed. Not finite = it was none, or (a norm) the engine does not say. */
struct curve {
    const double *losses;
    const double *norms; /* of the gradients */
    size_t count;
};

/* NaN = not known. */
struct curve_summary {
    double loss_first, loss_last;
    double loss_end;   /* median of the last tenth, at least 5 steps */
    double loss_slope; /* nats a step: least squares over the second half */
    size_t nonfinite_step, nonfinite_losses_count;
    size_t diverged_step; /* the first of those at the end that are all too high */
    size_t spikes_count, spike_step;
    double spike_z; /* the highest spike's */
    double norm_p50, norm_p95, norm_max;
};

/* Memory for a copy of the norms: `scratch`, of curve->count. */
void curve_summarize(const struct curve *curve, double *scratch, struct curve_summary *ret_summary);

/* How far a curve is from another, over the steps that both have. */
struct curve_difference {
    size_t steps_count;
    /* The largest |a - b| / |b_1|, b_1 the reference's first loss: what was learned makes later
     * losses small, but not the noise in them. NaN where a loss is not finite or none is shared. */
    double loss;
    size_t loss_step;
    double allowed; /* at that step */
    /* The largest |a - b| / |b| of the gradients' norms; NaN where not known. It decides nothing.
     */
    double norm;
    size_t over_step; /* the first that is further apart than allowed; 0 = none */
    double over,
        over_allowed; /* the difference there (NaN = a loss is not finite), the allowance */
};

/* What a step may be apart: `least`, or CURVE_GROWTH_TIMES what rounding alone had made of the
 * reference by then (curve_growth()), where that is more. Borrowed. */
struct curve_allowance {
    double least;
    const double *growth; /* of the reference's steps; NULL = not known */
    size_t growth_count;
};
#define CURVE_GROWTH_TIMES 10.0

void curve_compare(const struct curve *curve, const struct curve *reference,
                   const struct curve_allowance *allowance,
                   struct curve_difference *ret_difference);
/* `twin`: the reference's training again, from weights that differ in the last place. For each step
 * of the reference the largest difference up to it, as in `loss` above; NaN from a loss on that is
 * not finite, or where the twin ends. */
void curve_growth(const struct curve *twin, const struct curve *reference, double *ret_growth);
/* The largest difference of losses that rounding explains, where the lower of two precisions is
 * this one (docs/stability.md says why). */
double curve_tolerance(enum cell_precision precision);

#endif
