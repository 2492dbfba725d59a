/* engines/native/adamw.h - AdamW over one flat run of parameters, as torch.optim.AdamW does it:
 *
 *   p -= lr weight_decay p
 *   m = beta1 m + (1 - beta1) g,  v = beta2 v + (1 - beta2) g^2
 *   p -= lr / (1 - beta1^t) * m / (sqrt(v) / sqrt(1 - beta2^t) + eps)
 *
 * Decay goes to every parameter, as for AdamW(model.parameters()).
 */
#ifndef ENGINES_NATIVE_ADAMW_H
#define ENGINES_NATIVE_ADAMW_H

#include <stdint.h>

#include "engines/native/compute.h"
#include "engines/native/matrix.h"

struct adamw {
    double lr;
    double beta1;
    double beta2;
    double eps;
    double weight_decay;
};

/* PyTorch's defaults with the published learning rate. */
struct adamw adamw_default(void);

/* Step number `step` (the first is 1). All four are (1, parameters); gradients are read, the others
 * updated. */
void adamw_step(const struct compute *compute, const struct adamw *adamw, uint64_t step,
                struct matrix params, struct matrix gradients, struct matrix moment1,
                struct matrix moment2);
/* Global L2 norm of gradients (1, parameters); equal calls with equal threads give equal bits. */
double adamw_gradient_norm(const struct compute *compute, struct matrix gradients);

#endif
