/* engines/native/mlp.h - the dense feed-forward: proj(gelu(fc x)), GELU in its tanh form. */
#ifndef ENGINES_NATIVE_MLP_H
#define ENGINES_NATIVE_MLP_H

#include <stddef.h>

#include "engines/native/compute.h"

/* hidden (rows, F) -> act (rows, F) = gelu(hidden); may be the same buffer. */
void mlp_gelu(const struct compute *compute, size_t rows, size_t F, const float *hidden,
              float *act);
/* d_act (rows, F) -> gradient of hidden, in hidden's place; act (rows, F) = gelu(hidden) takes
 * d_act's place. */
void mlp_gelu_backward(const struct compute *compute, size_t rows, size_t F, float *hidden,
                       float *d_act);

#endif
