/* engines/native/embedding.h - tokens and positions to rows and back, and dropout over rows. */
#ifndef ENGINES_NATIVE_EMBEDDING_H
#define ENGINES_NATIVE_EMBEDDING_H

#include <stddef.h>
#include <stdint.h>

#include "engines/native/compute.h"

struct embedding {
    size_t dim;
    double dropout;
    uint64_t dropout_key;
};

/* out (rows, dim) = dropout(token table[tokens[row]] + position table[positions[row]]) */
void embedding_forward(const struct compute *compute, const struct embedding *embedding,
                       size_t rows, const uint32_t *tokens, const uint32_t *positions,
                       const float *token_table, const float *position_table, float *out);
/* Adds d_out (rows, dim) to the tables' gradients; turns d_out into the gradient before dropout. */
void embedding_backward(const struct compute *compute, const struct embedding *embedding,
                        size_t rows, const uint32_t *tokens, const uint32_t *positions,
                        float *d_out, float *d_token_table, float *d_position_table);

/* values (rows, dim) = dropout(values) */
void embedding_drop(const struct compute *compute, const struct embedding *embedding, size_t rows,
                    float *values);
/* out (rows, dim) = residual + dropout(values), values are dropped in place; out may be residual.
 */
void embedding_add_dropped(const struct compute *compute, const struct embedding *embedding,
                           size_t rows, float *values, const float *residual, float *out);
/* out (rows, dim) = dropout(values) */
void embedding_copy_dropped(const struct compute *compute, const struct embedding *embedding,
                            size_t rows, const float *values, float *out);

#endif
