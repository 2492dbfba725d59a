/* engines/native/moe.h - the mixture of SwiGLU experts: only chosen experts work on a token.
 *
 *   z = gate x; the K largest of z choose the experts; g = softmax over those K;
 *   out = sum over chosen e of g_e (w3_e dropout(silu(w1_e x) * (w2_e x)) + b3_e)
 *
 * Tokens are sorted by expert (a counting sort: exactly N K rows), each expert works on its rows
 * with dense matmuls, and every token gathers its K results. Gate gradients go through the softmax
 * of the chosen K alone.
 */
#ifndef ENGINES_NATIVE_MOE_H
#define ENGINES_NATIVE_MOE_H

#include <stddef.h>
#include <stdint.h>

#include "engines/native/buffers.h"
#include "engines/native/compute.h"
#include "engines/native/params.h"

struct moe {
    const struct params_layout *params; /* borrowed: from the transformer */
    struct matrix weights;              /* parameter runs */
    struct matrix gradients;            /* train only */
    size_t layer;
    size_t C, F, E, K;
    double dropout;
    uint64_t dropout_key; /* element (sorted row, f) has index row F + f */
};

/* Reads normed (rows, C), writes out (rows, C) = residual + experts' sum; `out` may be `residual`.
 * Uses routing, routed and act of `work`; keeps hidden1, hidden2 and the routes in `layer`. Adds
 * each expert's rows to expert_tokens (E). */
void moe_forward(const struct compute *compute, const struct moe *moe, struct matrix normed,
                 struct matrix residual, struct matrix out, const struct buffers *work,
                 const struct layer_buffers *layer, uint64_t *expert_tokens);
/* Reads d_out (rows, C), writes d_normed (rows, C), and the layer's expert and gate gradients.
 * `normed` is forward's input; overwrites hidden1 and hidden2. */
void moe_backward(const struct compute *compute, const struct moe *moe, struct matrix normed,
                  struct matrix d_out, struct matrix d_normed, const struct buffers *work,
                  const struct layer_buffers *layer);

#endif
