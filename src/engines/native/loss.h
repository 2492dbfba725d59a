/* engines/native/loss.h - the head and the cross-entropy, a block of rows at a time.
 *
 * Logits of `logits_rows` rows exist at once: each block's product, softmax, loss and gradients are
 * finished before the next block, so the (rows, V) logits are never held. A forward pass makes
 * every logit all the same; only where they are put repeats.
 */
#ifndef ENGINES_NATIVE_LOSS_H
#define ENGINES_NATIVE_LOSS_H

#include <stddef.h>
#include <stdint.h>

#include "engines/native/compute.h"

struct loss {
    size_t C, V;
    const float *head; /* (V, C) */
    float *logits;     /* (logits_rows, V) */
    size_t logits_rows;
    float *logits_out; /* (rows, V), all logits, for checks; NULL = not kept */
};

/* hidden (rows, C) -> logits, block by block. */
void loss_logits(const struct compute *compute, const struct loss *loss, size_t rows,
                 const float *hidden);
/* Mean cross-entropy of targets (rows); losses (rows) are the rows' own. With d_hidden (rows, C)
 * not NULL also the gradients: d_hidden and d_head (V, C) are set. */
double loss_cross_entropy(const struct compute *compute, const struct loss *loss, size_t rows,
                          const float *hidden, const uint32_t *targets, double *losses,
                          float *d_hidden, float *d_head);

#endif
