/* engines/native/attention.h - scaled dot-product attention of all heads, forward and backward.
 *
 *   S = scale q k^T, P = softmax(S) per row (over positions <= its own if causal),
 *   att = dropout(P) v,      scale = D^-1/2
 *
 * Scores exist for ATTENTION_ROWS query rows at a time in a thread's workspace, never for all rows
 * or layers: the backward pass makes them again from q, k and the log-sum-exp of each row.
 */
#ifndef ENGINES_NATIVE_ATTENTION_H
#define ENGINES_NATIVE_ATTENTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engines/native/compute.h"
#include "engines/native/matrix.h"

struct attention {
    size_t B, T, H, D;
    bool is_causal;
    double dropout;       /* on the weights; 0 = none */
    uint64_t dropout_key; /* element (b, h, i, j) of P has index ((b H + h) T + i) T + j */
};

/* Reads qkv (B T, 3 H D), writes att (B T, H D). lse (B H, T) is kept unless MATRIX_NONE. */
void attention_forward(const struct compute *compute, const struct attention *attention,
                       struct matrix qkv, struct matrix att, struct matrix lse);
/* Reads d_att (B T, H D), writes d_qkv (B T, 3 H D), given what forward took and kept. */
void attention_backward(const struct compute *compute, const struct attention *attention,
                        struct matrix qkv, struct matrix att, struct matrix lse,
                        struct matrix d_att, struct matrix d_qkv);

/* Attention of single rows over a cache. Row r is position positions[r] of batch row batch_of[r]:
 * it sees positions 0 .. positions[r]. */
struct attention_cache {
    size_t B, T, H, D;
    struct matrix keys;   /* (B H T, D) of one layer */
    struct matrix values; /* the same */
};

/* Puts k and v of qkv (rows, 3 H D) into the cache. */
void attention_cache_put(const struct compute *compute, const struct attention_cache *cache,
                         const uint32_t *batch_of, const uint32_t *positions, struct matrix qkv);
/* Reads q of qkv (rows, 3 H D), writes att (rows, H D). */
void attention_cache_read(const struct compute *compute, const struct attention_cache *cache,
                          const uint32_t *batch_of, const uint32_t *positions, struct matrix qkv,
                          struct matrix att);

#endif
