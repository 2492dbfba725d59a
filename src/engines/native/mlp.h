/* engines/native/mlp.h - the dense feed-forward: proj(gelu(fc x)), GELU in its tanh form. */
#ifndef ENGINES_NATIVE_MLP_H
#define ENGINES_NATIVE_MLP_H

#include "engines/native/compute.h"
#include "engines/native/matrix.h"

/* Reads hidden (rows, F), writes act (rows, F) = gelu(hidden); may be the same matrix. */
void mlp_gelu(const struct compute *compute, struct matrix hidden, struct matrix act);
/* Reads hidden and d_act (rows, F). The gradient of hidden takes hidden's place, and gelu(hidden)
 * takes d_act's. */
void mlp_gelu_backward(const struct compute *compute, struct matrix hidden, struct matrix d_act);

#endif
