/* engines/native/transformer.h - the model on the CPU: forward, backward, update, cached decoding.
 *
 * One object holds one cell's shape, its arena and its threads. Nothing here allocates after
 * transformer_open(). Equal calls with equal thread counts give equal bits.
 */
#ifndef ENGINES_NATIVE_TRANSFORMER_H
#define ENGINES_NATIVE_TRANSFORMER_H

#include <stdint.h>

#include "base/status.h"
#include "engines/native/arena.h"
#include "engines/native/attention.h"
#include "engines/native/buffers.h"
#include "engines/native/compute.h"
#include "engines/native/embedding.h"
#include "engines/native/linear.h"
#include "engines/native/loss.h"
#include "engines/native/moe.h"
#include "engines/native/norm.h"
#include "engines/native/params.h"
#include "engines/native/rotary.h"
#include "spec/cell.h"
#include "spec/model.h"

struct transformer {
    struct model_spec spec;
    struct shape shape;
    struct params_layout params;
    struct proto_memory_parts planned; /* total is the arena, in whole huge pages */
    struct arena arena;                /* owned */
    struct pool *pool;                 /* owned */
    struct buffers buffers;            /* in the arena */
    struct compute compute;
    double dropout;                            /* spec's in train, else 0; a check sets it to 0 */
    uint64_t seed;                             /* of dropout */
    uint64_t expert_tokens[PROTO_EXPERTS_MAX]; /* rows routed to each expert so far */
    struct head_seen seen;                     /* of the newest forward with a head */
    uint32_t cache_position;                   /* of its first row, in decode */
};

struct transformer_shape {
    enum cell_mode mode;
    size_t batch_size;
    size_t seq_len; /* at most spec.max_seq_len */
    unsigned threads_count;
};

/* Bytes by part without allocating. STATUS_LIMIT. */
MUST_CHECK enum status transformer_plan(const struct model_spec *spec,
                                        const struct transformer_shape *shape,
                                        struct proto_memory_parts *ret_parts, struct err *err);
/* Takes the planned memory, every page of it, and starts the threads. Weights are zero. */
MUST_CHECK enum status transformer_open(const struct model_spec *spec,
                                        const struct transformer_shape *shape, uint64_t seed,
                                        struct transformer *ret, struct err *err);
void transformer_close(struct transformer *t);

/* Train and infer work on buffers.inputs (B, T) and, for a loss, buffers.targets (B, T).
 * `step` chooses the dropout masks. `logits_out` (B T, V) gets all logits; MATRIX_NONE = not kept.
 */
void transformer_infer(struct transformer *t, struct matrix logits_out);
double transformer_loss(struct transformer *t, uint64_t step, struct matrix logits_out);
/* Loss, and all gradients in buffers.gradients. Train only. */
double transformer_gradients(struct transformer *t, uint64_t step, struct matrix logits_out);

/* Decode: feeds `rows_count` tokens at any positions whose predecessors of the same batch row are
 * in the cache already (or come earlier among these rows). Row r is buffers.pass_tokens[r] at
 * buffers.positions[r] of batch row buffers.batch_of[r]. `has_logits` makes their logits;
 * logits_out (rows_count, V) or MATRIX_NONE. */
void transformer_decode(struct transformer *t, size_t rows_count, bool has_logits,
                        struct matrix logits_out);

/* For backward.c, which is the other half of transformer.c. */
enum transformer_site {
    TRANSFORMER_EMBEDDING,
    TRANSFORMER_ATTENTION,
    TRANSFORMER_RESIDUAL,
    TRANSFORMER_FFN,
    TRANSFORMER_SITES_COUNT
};
struct norm transformer_norm(const struct transformer *t, enum param_slot weight,
                             enum param_slot bias, size_t layer);
struct linear transformer_linear(const struct transformer *t, enum param_slot weight,
                                 enum param_slot bias, size_t layer);
struct moe transformer_moe(const struct transformer *t, uint64_t step, size_t layer);
struct embedding transformer_dropout(const struct transformer *t, uint64_t step, size_t layer,
                                     enum transformer_site site);
struct attention transformer_attention(const struct transformer *t, uint64_t step, size_t layer);
/* Begins what is seen of a step's head anew. */
struct loss transformer_head(struct transformer *t, struct matrix logits_out);
struct rotary transformer_rotary(const struct transformer *t);
void transformer_forward(struct transformer *t, uint64_t step);

#endif
