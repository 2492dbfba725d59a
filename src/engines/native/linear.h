/* engines/native/linear.h - y = x W^T + b, and the other matmuls and sums of linear layers. */
#ifndef ENGINES_NATIVE_LINEAR_H
#define ENGINES_NATIVE_LINEAR_H

#include <stdbool.h>

#include "engines/native/compute.h"
#include "engines/native/matrix.h"

struct linear {
    struct matrix weight; /* (out, in) */
    struct matrix bias;   /* (1, out), or MATRIX_NONE */
};

/* Reads x (rows, in), writes y (rows, out). Few rows read the weights once, without packing them.
 */
void linear_forward(const struct compute *compute, const struct linear *linear, struct matrix x,
                    struct matrix y);

/* Reads dy (rows, out), writes d_x (rows, in); adds to what is there if `is_added`. */
void linear_backward_input(const struct compute *compute, const struct linear *linear,
                           struct matrix dy, struct matrix d_x, bool is_added);

/* Reads x (rows, in) and dy (rows, out). d_weight (out, in) = dy^T x, added to what is there if
 * `is_added`; d_bias (1, out) = column sums of dy, when it is not MATRIX_NONE. No rows give zeros.
 */
void linear_backward_weight(const struct compute *compute, struct matrix x, struct matrix dy,
                            struct matrix d_weight, struct matrix d_bias, bool is_added);

/* Every element = 0 */
void linear_zero(const struct compute *compute, struct matrix values);

#endif
