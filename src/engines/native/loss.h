/* engines/native/loss.h - the head and the cross-entropy, a block of rows at a time.
 *
 * Logits of one block of rows exist at once: each block's matmul, softmax, loss and gradients are
 * finished before the next block, so the (rows, V) logits are never held. A forward pass makes
 * every logit all the same; only where they are put repeats.
 */
#ifndef ENGINES_NATIVE_LOSS_H
#define ENGINES_NATIVE_LOSS_H

#include <stdint.h>

#include "engines/native/compute.h"
#include "engines/native/matrix.h"
#include "proto/message.h"

/* What went through the head in one step. Zeroed before it. */
struct head_seen {
    uint64_t rows_count;
    float logits[PROTO_LOGITS]; /* at proto_logits_place() */
};

struct loss {
    struct matrix head;       /* (V, C) */
    struct matrix logits;     /* (rows of a block, V), written */
    struct matrix logits_out; /* (rows, V), all logits, for checks; MATRIX_NONE = not kept */
    struct head_seen *seen;   /* borrowed for the call */
};

/* Reads hidden (rows, C); makes the logits, block by block. */
void loss_logits(const struct compute *compute, const struct loss *loss, struct matrix hidden);
/* Mean cross-entropy of targets (rows); losses (rows) are the rows' own. With d_hidden (rows, C)
 * also the gradients: d_hidden and d_head (V, C) are set. */
double loss_cross_entropy(const struct compute *compute, const struct loss *loss,
                          struct matrix hidden, const uint32_t *targets, double *losses,
                          struct matrix d_hidden, struct matrix d_head);

#endif
