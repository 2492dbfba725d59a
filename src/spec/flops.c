#include "spec/flops.h"

#include <math.h>

const char *flops_unit(enum cell_precision precision)
{
    switch (precision) {
    case CELL_PRECISION_FP32: return "fp32";
    case CELL_PRECISION_TF32: return "tf32";
    case CELL_PRECISION_BF16:
    case CELL_PRECISION_BF16_PURE: return "bf16";
    case CELL_PRECISION_FP16: return "fp16";
    case CELL_PRECISION_INT8: return "int8";
    }
    return "";
}

double flops_step(const struct cell *cell, enum flops_count count)
{
    struct model_spec model = cell->model;
    double context = (double)cell->seq_len;
    if (count == FLOPS_EXECUTED && cell->options.moe == CELL_MOE_PUBLISHED)
        model.experts_active = model.experts_count;
    /* Token i of a row looks at i of them; the one token of a decode step at all. */
    if (count == FLOPS_CAUSAL && model.is_causal && cell->mode != CELL_MODE_DECODE)
        context = (context + 1) / 2;
    double forward = model_forward_flops(&model, (double)cell_tokens_per_step(cell), context);
    return cell->mode == CELL_MODE_TRAIN ? 3 * forward : forward;
}

bool flops_decode_bytes(const struct cell *cell, double weight_bytes, double cache_bytes,
                        double *ret_bytes)
{
    const struct model_spec *model = &cell->model;
    if (cell->mode != CELL_MODE_DECODE)
        return false;
    double rows = (double)cell->batch_size;
    double experts = (double)model->experts_count;
    double active = (double)model->experts_active;
    double total = (double)model_params_total(model);
    double shared = total;
    double all_experts = 0;
    if (active < experts) {
        double idle = total - (double)model_params_active(model);
        all_experts = idle / (experts - active) * experts;
        shared = total - all_experts;
    }
    /* Tables that are looked up: a row a token. */
    double table = (double)model->vocab_size * (double)model->dim;
    if (!model->is_head_tied)
        shared -= table;
    /* As if each token chose its experts by lot. */
    double chosen = 1 - pow(1 - active / experts, rows);
    double cached =
        2 * (double)model->layers_count * (double)model->dim * rows * (double)cell->seq_len;
    *ret_bytes = (shared + all_experts * chosen) * weight_bytes + cached * cache_bytes;
    return true;
}
