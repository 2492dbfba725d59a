/* Which tensors a model has: the state_dict, and what follows from counting it. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "spec/model.h"

/* Tensors of one layer before its experts, of one expert, of the dense feed-forward. */
static uint32_t norm_tensors(const struct model_spec *spec)
{
    return spec->norm == MODEL_NORM_LAYER ? 2 : 1;
}

#define ATTENTION_TENSORS 4 /* qkv_proj, out_proj: weight and bias */
#define EXPERT_TENSORS    6 /* w1, w2, w3: weight and bias */
#define MLP_TENSORS       4 /* fc, proj: weight and bias */

static uint32_t layer_tensors(const struct model_spec *spec)
{
    uint32_t ffn =
        spec->ffn == MODEL_FFN_GELU ? MLP_TENSORS : 1 + EXPERT_TENSORS * spec->experts_count;
    return 2 * norm_tensors(spec) + ATTENTION_TENSORS + ffn;
}

uint32_t model_tensors_count(const struct model_spec *spec)
{
    return 2 + spec->layers_count * layer_tensors(spec) + norm_tensors(spec) +
           (spec->is_head_tied ? 0 : 1);
}

/* One dimension when `columns` is 0. */
static void set_shape(struct model_tensor *tensor, enum model_tensor_kind kind, uint64_t rows,
                      uint64_t columns)
{
    tensor->kind = kind;
    tensor->dims_count = columns == 0 ? 1 : 2;
    tensor->dims[0] = rows;
    tensor->dims[1] = columns == 0 ? 1 : columns;
    tensor->elements_count = rows * tensor->dims[1];
}

/* "prefix.weight" [out, in], or "prefix.bias" [out]. */
static void set_linear(struct model_tensor *tensor, const char *prefix, bool is_bias, uint64_t out,
                       uint64_t in)
{
    (void)snprintf(tensor->name, sizeof(tensor->name), "%s.%s", prefix,
                   is_bias ? "bias" : "weight");
    set_shape(tensor, is_bias ? MODEL_TENSOR_BIAS : MODEL_TENSOR_LINEAR, out, is_bias ? 0 : in);
}

static void set_norm(struct model_tensor *tensor, const char *prefix, bool is_bias, uint64_t dim)
{
    (void)snprintf(tensor->name, sizeof(tensor->name), "%s.%s", prefix,
                   is_bias ? "bias" : "weight");
    set_shape(tensor, is_bias ? MODEL_TENSOR_BIAS : MODEL_TENSOR_NORM, dim, 0);
}

static void ffn_tensor_at(const struct model_spec *spec, uint32_t layer, uint32_t index,
                          struct model_tensor *tensor)
{
    char prefix[MODEL_TENSOR_NAME_BYTES - 16];
    uint64_t dim = spec->dim;
    uint64_t hidden = spec->ffn_hidden;
    if (spec->ffn == MODEL_FFN_GELU) {
        bool is_fc = index < 2;
        (void)snprintf(prefix, sizeof(prefix), "layers.%" PRIu32 ".mlp.%s", layer,
                       is_fc ? "fc" : "proj");
        set_linear(tensor, prefix, index % 2 == 1, is_fc ? hidden : dim, is_fc ? dim : hidden);
        return;
    }
    if (index == 0) {
        (void)snprintf(prefix, sizeof(prefix), "layers.%" PRIu32 ".moe.gate", layer);
        set_linear(tensor, prefix, false, spec->experts_count, dim);
        return;
    }
    uint32_t expert = (index - 1) / EXPERT_TENSORS;
    uint32_t part = (index - 1) % EXPERT_TENSORS;
    (void)snprintf(prefix, sizeof(prefix),
                   "layers.%" PRIu32 ".moe.experts.%" PRIu32 ".ffn.w%" PRIu32, layer, expert,
                   part / 2 + 1);
    bool is_down = part / 2 == 2;
    set_linear(tensor, prefix, part % 2 == 1, is_down ? dim : hidden, is_down ? hidden : dim);
    tensor->is_expert = true;
    tensor->expert = (int32_t)expert;
}

static void layer_tensor_at(const struct model_spec *spec, uint32_t layer, uint32_t index,
                            struct model_tensor *tensor)
{
    char prefix[MODEL_TENSOR_NAME_BYTES - 16];
    uint32_t norms = norm_tensors(spec);
    uint64_t dim = spec->dim;
    tensor->layer = (int32_t)layer;
    if (index < norms) {
        (void)snprintf(prefix, sizeof(prefix), "layers.%" PRIu32 ".norm1", layer);
        set_norm(tensor, prefix, index == 1, dim);
        return;
    }
    index -= norms;
    if (index < ATTENTION_TENSORS) {
        bool is_qkv = index < 2;
        (void)snprintf(prefix, sizeof(prefix), "layers.%" PRIu32 ".attn.%s", layer,
                       is_qkv ? "qkv_proj" : "out_proj");
        set_linear(tensor, prefix, index % 2 == 1, is_qkv ? 3 * dim : dim, dim);
        return;
    }
    index -= ATTENTION_TENSORS;
    if (index < norms) {
        (void)snprintf(prefix, sizeof(prefix), "layers.%" PRIu32 ".norm2", layer);
        set_norm(tensor, prefix, index == 1, dim);
        return;
    }
    ffn_tensor_at(spec, layer, index - norms, tensor);
}

void model_tensor_at(const struct model_spec *spec, uint32_t index, struct model_tensor *ret_tensor)
{
    ASSERT(index < model_tensors_count(spec));
    *ret_tensor = (struct model_tensor){.layer = -1, .expert = -1};
    if (index == 0) {
        (void)snprintf(ret_tensor->name, sizeof(ret_tensor->name), "token_embedding.weight");
        set_shape(ret_tensor, MODEL_TENSOR_EMBEDDING, spec->vocab_size, spec->dim);
        return;
    }
    if (index == 1) {
        (void)snprintf(ret_tensor->name, sizeof(ret_tensor->name), "position_embedding");
        set_shape(ret_tensor, MODEL_TENSOR_POSITION, spec->max_seq_len, spec->dim);
        return;
    }
    uint32_t in_layers = index - 2;
    uint32_t per_layer = layer_tensors(spec);
    if (in_layers < spec->layers_count * per_layer) {
        layer_tensor_at(spec, in_layers / per_layer, in_layers % per_layer, ret_tensor);
        return;
    }
    uint32_t behind = in_layers - spec->layers_count * per_layer;
    if (behind < norm_tensors(spec))
        set_norm(ret_tensor, "norm", behind == 1, spec->dim);
    else
        set_linear(ret_tensor, "lm_head", false, spec->vocab_size, spec->dim);
}

uint64_t model_params_total(const struct model_spec *spec)
{
    uint64_t total = 0;
    struct model_tensor tensor;
    for (uint32_t i = 0; i < model_tensors_count(spec); i++) {
        model_tensor_at(spec, i, &tensor);
        total += tensor.elements_count;
    }
    return total;
}

uint64_t model_params_active(const struct model_spec *spec)
{
    uint64_t shared = 0;
    uint64_t experts = 0;
    struct model_tensor tensor;
    for (uint32_t i = 0; i < model_tensors_count(spec); i++) {
        model_tensor_at(spec, i, &tensor);
        if (tensor.is_expert)
            experts += tensor.elements_count;
        else
            shared += tensor.elements_count;
    }
    return shared + experts / spec->experts_count * spec->experts_active;
}

double model_forward_flops(const struct model_spec *spec, double tokens_count, double context_len)
{
    double dim = spec->dim;
    double hidden = spec->ffn_hidden;
    double ffn = spec->ffn == MODEL_FFN_GELU
                     ? 2.0 * dim * hidden
                     : dim * spec->experts_count + spec->experts_active * 3.0 * dim * hidden;
    double matrix_params = spec->layers_count * (4.0 * dim * dim + ffn) + dim * spec->vocab_size;
    double attention = 4.0 * spec->layers_count * dim * context_len;
    return tokens_count * (2.0 * matrix_params + attention);
}
