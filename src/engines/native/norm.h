/* engines/native/norm.h - RMSNorm and LayerNorm over rows.
 *
 *   RMS:    y = w x rstd,              rstd = (mean(x^2) + eps)^-1/2
 *   Layer:  y = w (x - mean) rstd + b, rstd = (var(x) + eps)^-1/2, var with 1/C
 */
#ifndef ENGINES_NATIVE_NORM_H
#define ENGINES_NATIVE_NORM_H

#include <stddef.h>

#include "engines/native/compute.h"

struct norm {
    size_t dim;
    double eps;
    const float *weight; /* (dim) */
    const float *bias;   /* (dim); NULL makes it RMSNorm */
};

/* x (rows, dim) -> y (rows, dim). Keeps rstd (rows) and, for LayerNorm, mean (rows) unless NULL. */
void norm_forward(const struct compute *compute, const struct norm *norm, size_t rows,
                  const float *x, float *y, float *rstd, float *mean);
/* y again, from what was kept. */
void norm_again(const struct compute *compute, const struct norm *norm, size_t rows, const float *x,
                const float *rstd, const float *mean, float *y);
/* dy (rows, dim) -> added to d_x (rows, dim); d_weight and d_bias (dim) are set. */
void norm_backward(const struct compute *compute, const struct norm *norm, size_t rows,
                   const float *x, const float *rstd, const float *mean, const float *dy,
                   float *d_x, float *d_weight, float *d_bias);

#endif
