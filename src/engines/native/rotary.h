/* engines/native/rotary.h - rotary positions: the first rotary_dim dims of every head of q and k,
 * taken as pairs (x[i], x[i + rotary_dim / 2]), are turned by position * base^(-2 i / rotary_dim).
 */
#ifndef ENGINES_NATIVE_ROTARY_H
#define ENGINES_NATIVE_ROTARY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engines/native/compute.h"
#include "engines/native/matrix.h"

struct rotary {
    size_t heads_count;
    size_t head_dim;
    size_t rotary_dim;         /* 0: nothing is turned */
    struct matrix cosines;     /* (positions, rotary_dim / 2) */
    struct matrix sines;       /* the same */
    const uint32_t *positions; /* (rows), borrowed: from the buffers */
};

/* Writes both tables, (positions, rotary_dim / 2). Angles are made in double. */
void rotary_table(double base, struct matrix cosines, struct matrix sines);
/* qkv (rows, 3 heads head_dim) in place; `is_inverse` turns back, which is also what the gradients
 * need. */
void rotary_apply(const struct compute *compute, const struct rotary *rotary, struct matrix qkv,
                  bool is_inverse);

#endif
