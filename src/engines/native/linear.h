/* engines/native/linear.h - y = x W^T + b, and the other products and sums of linear layers. */
#ifndef ENGINES_NATIVE_LINEAR_H
#define ENGINES_NATIVE_LINEAR_H

#include <stdbool.h>
#include <stddef.h>

#include "engines/native/compute.h"

struct linear {
    size_t in;
    size_t out;
    const float *weight; /* (out, in) */
    const float *bias;   /* (out), or NULL */
};

/* x (rows, in) -> y (rows, out). Few rows read the weights once, without packing them. */
void linear_forward(const struct compute *compute, const struct linear *linear, size_t rows,
                    const float *x, float *y);

/* dy (rows, out) -> d_x (rows, in); adds to what is there if `is_added`. */
void linear_backward_input(const struct compute *compute, const struct linear *linear, size_t rows,
                           const float *dy, float *d_x, bool is_added);

/* d_weight (out, in) = dy^T x, added to what is there if `is_added`; d_bias (out) = column sums of
 * dy, when it is not NULL. No rows give zeros. */
void linear_backward_weight(const struct compute *compute, const struct linear *linear, size_t rows,
                            const float *x, const float *dy, float *d_weight, float *d_bias,
                            bool is_added);

/* values (count) = 0 */
void linear_zero(const struct compute *compute, float *values, size_t count);

#endif
