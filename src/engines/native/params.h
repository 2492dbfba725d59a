/* engines/native/params.h - where each parameter lies in one run of elements.
 *
 * Weights, gradients and both AdamW moments are such runs, (1, elements_count), with equal layout
 * whatever their dtypes, so that the optimizer is one loop. Every tensor begins at a multiple of 16
 * elements; the gaps stay zero for ever.
 */
#ifndef ENGINES_NATIVE_PARAMS_H
#define ENGINES_NATIVE_PARAMS_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "engines/native/matrix.h"
#include "spec/model.h"

/* X(slot, name behind "", "layers.N." or "layers.N.moe.experts.E.") */
#define PARAM_GLOBAL_MAP(X)            \
    X(TOKEN, "token_embedding.weight") \
    X(POSITION, "position_embedding")  \
    X(NORM_WEIGHT, "norm.weight")      \
    X(NORM_BIAS, "norm.bias")          \
    X(HEAD, "lm_head.weight")
#define PARAM_LAYER_MAP(X)                \
    X(NORM1_WEIGHT, "norm1.weight")       \
    X(NORM1_BIAS, "norm1.bias")           \
    X(QKV_WEIGHT, "attn.qkv_proj.weight") \
    X(QKV_BIAS, "attn.qkv_proj.bias")     \
    X(OUT_WEIGHT, "attn.out_proj.weight") \
    X(OUT_BIAS, "attn.out_proj.bias")     \
    X(NORM2_WEIGHT, "norm2.weight")       \
    X(NORM2_BIAS, "norm2.bias")           \
    X(GATE_WEIGHT, "moe.gate.weight")     \
    X(FC_WEIGHT, "mlp.fc.weight")         \
    X(FC_BIAS, "mlp.fc.bias")             \
    X(PROJ_WEIGHT, "mlp.proj.weight")     \
    X(PROJ_BIAS, "mlp.proj.bias")
#define PARAM_EXPERT_MAP(X)       \
    X(W1_WEIGHT, "ffn.w1.weight") \
    X(W1_BIAS, "ffn.w1.bias")     \
    X(W2_WEIGHT, "ffn.w2.weight") \
    X(W2_BIAS, "ffn.w2.bias")     \
    X(W3_WEIGHT, "ffn.w3.weight") \
    X(W3_BIAS, "ffn.w3.bias")

enum param_slot {
#define X(slot, name) PARAM_##slot,
    PARAM_GLOBAL_MAP(X) PARAM_LAYER_MAP(X) PARAM_EXPERT_MAP(X)
#undef X
        PARAM_SLOTS_COUNT
};

struct params_layout {
    /* Elements from the start to the slot's first tensor (layer 0, expert 0); SIZE_MAX when the
     * model has none. A tied head is the token embedding. */
    size_t offset[PARAM_SLOTS_COUNT];
    size_t rows[PARAM_SLOTS_COUNT]; /* of each tensor: a matrix is (out, in), a vector (1, n) */
    size_t columns[PARAM_SLOTS_COUNT];
    size_t layer_stride;   /* elements from a layer to the next */
    size_t expert_stride;  /* elements from an expert to the next */
    size_t elements_count; /* all, gaps counted; 0 if more than 2^60 */
};

void params_layout_init(struct params_layout *layout, const struct model_spec *spec);

/* The tensor in `run`; MATRIX_NONE when the model has none. Global slots take layer 0, all but
 * expert slots take expert 0. */
static inline struct matrix params_at(const struct params_layout *layout, struct matrix run,
                                      enum param_slot slot, size_t layer, size_t expert)
{
    if (layout->offset[slot] == SIZE_MAX)
        return MATRIX_NONE;
    return matrix_of_run(
        run, layout->offset[slot] + layer * layout->layer_stride + expert * layout->expert_stride,
        layout->rows[slot], layout->columns[slot]);
}

/* A tensor of model_tensor_at() in `run`. */
struct matrix params_of(const struct params_layout *layout, struct matrix run,
                        const struct model_tensor *tensor);

#endif
