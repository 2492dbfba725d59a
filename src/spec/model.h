/* spec/model.h - what a transformer is: the settings of a preset, and everything that follows from
 * them (tensor names and shapes, parameter counts, floating-point work).
 *
 * One description serves every engine and every preset: `superintelligence` (RMSNorm, rotary,
 * mixture-of-experts SwiGLU, no causal mask, untied head) and `gpt2-124m` (LayerNorm, GELU,
 * causal, tied head) differ in these fields alone. A preset is a JSON file under models/.
 */
#ifndef SPEC_MODEL_H
#define SPEC_MODEL_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/json_write.h"
#include "base/status.h"

#define MODEL_NAME_BYTES        128
#define MODEL_TENSOR_NAME_BYTES 96
#define MODEL_DIMS_MAX          2

enum model_norm { MODEL_NORM_RMS, MODEL_NORM_LAYER };
enum model_ffn { MODEL_FFN_MOE_SWIGLU, MODEL_FFN_GELU };

struct model_spec {
    char name[MODEL_NAME_BYTES]; /* preset name, or what the user gave */
    uint32_t vocab_size;
    uint32_t max_seq_len; /* learned positions; a benchmark sets it to the cell's seq_len */
    uint32_t dim;
    uint32_t layers_count;
    uint32_t heads_count;    /* divides dim */
    uint32_t ffn_hidden;     /* of each expert, or of the one feed-forward */
    uint32_t experts_count;  /* 1 for MODEL_FFN_GELU */
    uint32_t experts_active; /* top-k; 1 for MODEL_FFN_GELU */
    uint32_t rotary_dim;     /* even, <= head dim; 0 = no rotary */
    double dropout;          /* [0, 1) */
    double norm_eps;
    double rotary_base;
    enum model_norm norm;
    enum model_ffn ffn;
    bool is_causal;
    bool is_head_tied; /* lm_head.weight is token_embedding.weight */
};

/* Which part of the model a tensor belongs to; decides its initialisation. */
enum model_tensor_kind {
    MODEL_TENSOR_EMBEDDING, /* N(0, 0.02) */
    MODEL_TENSOR_POSITION,  /* zero */
    MODEL_TENSOR_NORM,      /* one */
    MODEL_TENSOR_LINEAR,    /* Xavier-uniform: U(-a, a), a = sqrt(6 / (fan_in + fan_out)) */
    MODEL_TENSOR_BIAS,      /* zero */
};

struct model_tensor {
    char name[MODEL_TENSOR_NAME_BYTES]; /* published state_dict name */
    enum model_tensor_kind kind;
    uint32_t dims_count;
    uint64_t dims[MODEL_DIMS_MAX]; /* linear weights are [out, in] */
    uint64_t elements_count;
    bool is_expert; /* belongs to one expert: only top-k of them work on a token */
    int32_t layer;  /* -1 outside layers */
    int32_t expert; /* -1 outside experts */
};

/* All of a preset's rules, e.g. heads divide dim, rotary fits; the text names the nearest value. */
MUST_CHECK enum status model_spec_validate(const struct model_spec *spec, struct err *err);

/* Number of tensors in the state_dict (a tied head is not counted again), and the index-th, in
 * state_dict order. */
uint32_t model_tensors_count(const struct model_spec *spec);
void model_tensor_at(const struct model_spec *spec, uint32_t index,
                     struct model_tensor *ret_tensor);

/* Every parameter; and those that work on one token (experts_active of experts_count experts). */
uint64_t model_params_total(const struct model_spec *spec);
uint64_t model_params_active(const struct model_spec *spec);

/* Floating-point operations (a multiply-add is 2) that the model itself needs for `tokens_count`
 * tokens in rows of `context_len`: 2 per active matrix parameter and token, plus attention
 * 4 * layers * dim * context_len per token (not halved for a causal mask). Embedding look-ups,
 * norms and recomputation are not counted. Training costs 3 times this. Source: PaLM
 * (arXiv:2204.02311), appendix B, with only the chosen experts counted. */
double model_forward_flops(const struct model_spec *spec, double tokens_count, double context_len);

/* One JSON object with every field, keys as in models/ (docs/models.md). */
void model_spec_write(const struct model_spec *spec, struct json_writer *writer);
/* Reads such an object; unknown keys are an error that names the nearest known key, missing ones
 * keep the value already in `*spec` (so a preset can be overridden field by field). */
MUST_CHECK enum status model_spec_read(const json_t *object, struct model_spec *spec,
                                       struct err *err);
/* Is `key` a field of a model? */
bool model_spec_has(const char *key);
/* Sets one field from text: `--set dim=512`. */
MUST_CHECK enum status model_spec_set(struct model_spec *spec, const char *key, const char *value,
                                      struct err *err);

#endif
