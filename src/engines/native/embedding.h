/* engines/native/embedding.h - tokens and positions to rows and back, and dropout over rows. */
#ifndef ENGINES_NATIVE_EMBEDDING_H
#define ENGINES_NATIVE_EMBEDDING_H

#include <stdint.h>

#include "engines/native/compute.h"
#include "engines/native/matrix.h"

/* Where rows are dropped, and by which mask. */
struct embedding {
    double dropout;       /* 0 = none */
    uint64_t dropout_key; /* element (row, i) of rows of `dim` has index row dim + i */
};

/* Writes out (rows, dim) = dropout(token_table[tokens[row]] + position_table[positions[row]]);
 * reads the tables (vocabulary, dim) and (positions, dim). */
void embedding_forward(const struct compute *compute, const struct embedding *embedding,
                       const uint32_t *tokens, const uint32_t *positions, struct matrix token_table,
                       struct matrix position_table, struct matrix out);
/* Adds d_out (rows, dim) to the tables' gradients; turns d_out into the gradient before dropout. */
void embedding_backward(const struct compute *compute, const struct embedding *embedding,
                        const uint32_t *tokens, const uint32_t *positions, struct matrix d_out,
                        struct matrix d_token_table, struct matrix d_position_table);

/* Writes out (rows, dim) = residual + dropout(values); values are dropped in place. `out` may be
 * `residual`. */
void embedding_add_dropped(const struct compute *compute, const struct embedding *embedding,
                           struct matrix values, struct matrix residual, struct matrix out);
/* Writes out (rows, dim) = dropout(values). */
void embedding_copy_dropped(const struct compute *compute, const struct embedding *embedding,
                            struct matrix values, struct matrix out);

#endif
