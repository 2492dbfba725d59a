/* engines/native/norm.h - RMSNorm and LayerNorm over rows.
 *
 *   RMS:    y = w x rstd,              rstd = (mean(x^2) + eps)^-1/2
 *   Layer:  y = w (x - mean) rstd + b, rstd = (var(x) + eps)^-1/2, var with 1/C
 */
#ifndef ENGINES_NATIVE_NORM_H
#define ENGINES_NATIVE_NORM_H

#include "engines/native/compute.h"
#include "engines/native/matrix.h"

struct norm {
    double eps;
    struct matrix weight; /* (1, dim) */
    struct matrix bias;   /* (1, dim); MATRIX_NONE makes it RMSNorm */
};

/* Reads x (rows, dim), writes y (rows, dim). Keeps rstd (1, rows) and, for LayerNorm, mean (1,
 * rows) where they are not MATRIX_NONE. */
void norm_forward(const struct compute *compute, const struct norm *norm, struct matrix x,
                  struct matrix y, struct matrix rstd, struct matrix mean);
/* Writes y again, from what was kept. */
void norm_again(const struct compute *compute, const struct norm *norm, struct matrix x,
                struct matrix rstd, struct matrix mean, struct matrix y);
/* Reads dy (rows, dim), adds to d_x (rows, dim), sets d_weight and, for LayerNorm, d_bias (1, dim).
 */
void norm_backward(const struct compute *compute, const struct norm *norm, struct matrix x,
                   struct matrix rstd, struct matrix mean, struct matrix dy, struct matrix d_x,
                   struct matrix d_weight, struct matrix d_bias);

#endif
