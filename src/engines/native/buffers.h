/* engines/native/buffers.h - the memory plan of a cell, and what lies in its arena: matrices
 * (matrix.h), and indices and workspace as plain pointers. All of them are borrowed from the arena,
 * until it is closed.
 *
 * Shapes are row-major, in these letters:
 *   B batch rows, T tokens per row, N rows that one pass works on, C dim, H heads, D head size,
 *   L layers, F feed-forward hidden, E experts, K experts per token, V vocabulary
 *
 * What a mode keeps:
 *   train   every layer's residuals, norm statistics, qkv, attention output, softmax statistics and
 *           feed-forward pre-activations; the rest is computed again on the way back
 *   infer   one layer's buffers, used by all
 *   decode  the same for max(B, block of prefill) rows, and the cache of keys and values
 * Logits exist only a block of rows at a time, in every mode.
 */
#ifndef ENGINES_NATIVE_BUFFERS_H
#define ENGINES_NATIVE_BUFFERS_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "engines/native/arena.h"
#include "engines/native/params.h"
#include "proto/message.h"
#include "spec/cell.h"

/* Positions that prefill puts into the cache at once. */
#define PREFILL_ROWS 128
/* Query rows whose scores exist at once, per thread. */
#define ATTENTION_ROWS 128

struct shape {
    size_t B, T, N, C, H, D, L, F, E, K, V;
    size_t rotary_dim;
    size_t logits_rows; /* rows whose logits exist at once */
    enum cell_mode mode;
    unsigned threads_count;
};

/* One layer. In train every layer has its own, else all share one, and x_in, x_mid and the final
 * residual are the same buffer. All of it is borrowed: in the arena. */
struct layer_buffers {
    struct matrix x_in;  /* (N, C) residual before the layer */
    struct matrix x_mid; /* (N, C) residual between attention and feed-forward */
    struct matrix rstd1; /* (1, N) of norm1; the next three alike. MATRIX_NONE but in train */
    struct matrix mean1;
    struct matrix rstd2;
    struct matrix mean2;
    struct matrix qkv;     /* (N, 3 H D), q and k after rotary */
    struct matrix att;     /* (N, C) heads' outputs, before out_proj */
    struct matrix lse;     /* (B H, T) log-sum-exp of each row of scores; train only */
    struct matrix hidden1; /* (N K, F) w1 x + b1, sorted by expert; or fc x + b, (N, F) */
    struct matrix hidden2; /* (N K, F) w2 x + b2; MATRIX_NONE for GELU */
    uint32_t *expert_of;   /* (N, K) chosen expert */
    uint32_t *row_of;      /* (N, K) where its row is in the sorted buffers */
    uint32_t *token_of;    /* (N K) token row of a sorted row */
    struct matrix gate_of; /* (N, K) gate weight of each choice */
    size_t *expert_begin;  /* (E + 1) first sorted row of each expert */
};

/* All of it is borrowed: in the arena, which lives as long. */
struct buffers {
    struct matrix weights; /* (1, elements) params_layout runs, the next three train only */
    struct matrix gradients;
    struct matrix moment1;
    struct matrix moment2;
    uint32_t *inputs;         /* (B, T) */
    uint32_t *targets;        /* (B, T) */
    uint32_t *positions;      /* (N) position of each row of the pass */
    uint32_t *batch_of;       /* (N) decode: batch row of each row of the pass */
    uint32_t *pass_tokens;    /* (N) decode: token of each row of the pass */
    struct matrix rotary_cos; /* (T, rotary_dim / 2) */
    struct matrix rotary_sin;
    double *losses;     /* (N) */
    struct matrix keys; /* (L B H T, D) decode */
    struct matrix values;

    struct layer_buffers layer0;
    size_t layer_stride_bytes;
    struct matrix x_final; /* (N, C) */
    struct matrix final_rstd;
    struct matrix final_mean;

    struct matrix normed; /* (N, C) output of a norm; also the projection's output on the way out */
    struct matrix routing; /* (N, E) gate logits, or their gradients */
    struct matrix routed;  /* (N K, C) rows gathered for the experts, then what they make of them */
    struct matrix act;     /* (N K, F) input of w3; hidden1 but in train */
    struct matrix logits;  /* (logits_rows, V) */

    struct matrix d_x; /* (N, C) gradient of the residual; this and the following: train only */
    struct matrix d_normed;
    struct matrix d_att;    /* (N, C) */
    struct matrix d_qkv;    /* (N, 3 C) */
    struct matrix d_out;    /* (N, C) gradient behind a dropout */
    struct matrix d_routed; /* (N K, C) */

    void *gemm_workspace;
    char *thread_workspace; /* threads_count times thread_workspace_bytes */
    size_t thread_workspace_bytes;
};

/* The part of thread_workspace that holds scores comes after gemm_serial()'s. */
size_t buffers_scores_offset(void);

/* Shape of a pass over (batch_size, seq_len) tokens; for decode N is what one pass takes. */
MUST_CHECK enum status shape_init(struct shape *shape, const struct model_spec *spec,
                                  enum cell_mode mode, size_t batch_size, size_t seq_len,
                                  unsigned threads_count, struct err *err);

/* Places everything in `layout` (over no memory: only counts). Bytes by part are added to
 * *ret_parts when it is not NULL; its total is the arena's. STATUS_LIMIT when sizes overflow. */
MUST_CHECK enum status buffers_place(const struct shape *shape, const struct model_spec *spec,
                                     const struct params_layout *params, struct layout *layout,
                                     struct buffers *ret_buffers,
                                     struct proto_memory_parts *ret_parts, struct err *err);

/* The buffers of one layer. */
struct layer_buffers buffers_layer(const struct buffers *buffers, size_t layer);

#endif
