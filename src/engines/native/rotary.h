/* engines/native/rotary.h - rotary positions: the first rotary_dim dims of every head of q and k,
 * taken as pairs (x[i], x[i + rotary_dim / 2]), are turned by position * base^(-2 i / rotary_dim).
 */
#ifndef ENGINES_NATIVE_ROTARY_H
#define ENGINES_NATIVE_ROTARY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engines/native/compute.h"

struct rotary {
    size_t heads_count;
    size_t head_dim;
    size_t rotary_dim;         /* 0: nothing is turned */
    const float *cosines;      /* (positions, rotary_dim / 2) */
    const float *sines;        /* the same */
    const uint32_t *positions; /* (rows) */
};

/* Angles in double, for positions 0 .. positions_count-1. */
void rotary_table(size_t positions_count, size_t rotary_dim, double base, float *ret_cosines,
                  float *ret_sines);
/* qkv (rows, 3, heads, head_dim) in place; `is_inverse` turns back, which is also what the
 * gradients need. */
void rotary_apply(const struct compute *compute, const struct rotary *rotary, size_t rows,
                  float *qkv, bool is_inverse);

#endif
