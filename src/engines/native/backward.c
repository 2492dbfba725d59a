/* The way back through the transformer: gradients of everything, layer by layer from the last. */
#include "engines/native/transformer.h"

#include "engines/native/attention.h"
#include "engines/native/loss.h"
#include "engines/native/mlp.h"

static struct matrix gradient_at(const struct transformer *t, enum param_slot slot, size_t layer)
{
    return params_at(&t->params, t->buffers.gradients, slot, layer, 0);
}

/* The dense feed-forward: d_x -> d_normed. normed is its input. */
static void mlp_backward(struct transformer *t, uint64_t step, size_t index,
                         struct layer_buffers *layer)
{
    const struct compute *compute = &t->compute;
    struct buffers *b = &t->buffers;
    struct linear fc = transformer_linear(t, PARAM_FC_WEIGHT, PARAM_FC_BIAS, index);
    struct linear proj = transformer_linear(t, PARAM_PROJ_WEIGHT, PARAM_PROJ_BIAS, index);
    struct embedding drop = transformer_dropout(t, step, index, TRANSFORMER_FFN);
    embedding_copy_dropped(compute, &drop, b->d_x, b->d_out);
    linear_backward_input(compute, &proj, b->d_out, b->act, false);
    mlp_gelu_backward(compute, layer->hidden1, b->act);
    linear_backward_weight(compute, b->act, b->d_out, gradient_at(t, PARAM_PROJ_WEIGHT, index),
                           gradient_at(t, PARAM_PROJ_BIAS, index), false);
    linear_backward_weight(compute, b->normed, layer->hidden1,
                           gradient_at(t, PARAM_FC_WEIGHT, index),
                           gradient_at(t, PARAM_FC_BIAS, index), false);
    linear_backward_input(compute, &fc, layer->hidden1, b->d_normed, false);
}

/* d_x (of the layer's output) += what comes through the feed-forward */
static void ffn_half_backward(struct transformer *t, uint64_t step, size_t index,
                              struct layer_buffers *layer)
{
    const struct compute *compute = &t->compute;
    struct buffers *b = &t->buffers;
    struct norm norm = transformer_norm(t, PARAM_NORM2_WEIGHT, PARAM_NORM2_BIAS, index);
    norm_again(compute, &norm, layer->x_mid, layer->rstd2, layer->mean2, b->normed);
    if (t->spec.ffn == MODEL_FFN_MOE_SWIGLU) {
        struct moe moe = transformer_moe(t, step, index);
        moe_backward(compute, &moe, b->normed, b->d_x, b->d_normed, b, layer);
    } else {
        mlp_backward(t, step, index, layer);
    }
    norm_backward(compute, &norm, layer->x_mid, layer->rstd2, layer->mean2, b->d_normed, b->d_x,
                  gradient_at(t, PARAM_NORM2_WEIGHT, index),
                  gradient_at(t, PARAM_NORM2_BIAS, index));
}

/* d_x += what comes through attention */
static void attention_half_backward(struct transformer *t, uint64_t step, size_t index,
                                    struct layer_buffers *layer)
{
    const struct compute *compute = &t->compute;
    struct buffers *b = &t->buffers;
    struct norm norm = transformer_norm(t, PARAM_NORM1_WEIGHT, PARAM_NORM1_BIAS, index);
    struct linear qkv = transformer_linear(t, PARAM_QKV_WEIGHT, PARAM_QKV_BIAS, index);
    struct linear out = transformer_linear(t, PARAM_OUT_WEIGHT, PARAM_OUT_BIAS, index);
    struct embedding drop = transformer_dropout(t, step, index, TRANSFORMER_RESIDUAL);
    struct attention attention = transformer_attention(t, step, index);
    struct rotary rotary = transformer_rotary(t);
    embedding_copy_dropped(compute, &drop, b->d_x, b->d_out);
    linear_backward_weight(compute, layer->att, b->d_out, gradient_at(t, PARAM_OUT_WEIGHT, index),
                           gradient_at(t, PARAM_OUT_BIAS, index), false);
    linear_backward_input(compute, &out, b->d_out, b->d_att, false);
    attention_backward(compute, &attention, layer->qkv, layer->att, layer->lse, b->d_att, b->d_qkv);
    rotary_apply(compute, &rotary, b->d_qkv, true);
    norm_again(compute, &norm, layer->x_in, layer->rstd1, layer->mean1, b->normed);
    linear_backward_weight(compute, b->normed, b->d_qkv, gradient_at(t, PARAM_QKV_WEIGHT, index),
                           gradient_at(t, PARAM_QKV_BIAS, index), false);
    linear_backward_input(compute, &qkv, b->d_qkv, b->d_normed, false);
    norm_backward(compute, &norm, layer->x_in, layer->rstd1, layer->mean1, b->d_normed, b->d_x,
                  gradient_at(t, PARAM_NORM1_WEIGHT, index),
                  gradient_at(t, PARAM_NORM1_BIAS, index));
}

/* The head, the loss and the final norm: sets d_x. */
static double head_backward(struct transformer *t, struct matrix logits_out)
{
    const struct compute *compute = &t->compute;
    struct buffers *b = &t->buffers;
    struct loss head = transformer_head(t, logits_out);
    struct norm norm = transformer_norm(t, PARAM_NORM_WEIGHT, PARAM_NORM_BIAS, 0);
    double loss = loss_cross_entropy(compute, &head, b->normed, b->targets, b->losses, b->d_normed,
                                     gradient_at(t, PARAM_HEAD, 0));
    linear_zero(compute, b->d_x);
    norm_backward(compute, &norm, b->x_final, b->final_rstd, b->final_mean, b->d_normed, b->d_x,
                  gradient_at(t, PARAM_NORM_WEIGHT, 0), gradient_at(t, PARAM_NORM_BIAS, 0));
    return loss;
}

/* Tokens that did not occur and positions past seq_len have a gradient of zero. With a tied head
 * the token table already holds the head's. */
static void zero_tables(struct transformer *t)
{
    if (!t->spec.is_head_tied)
        linear_zero(&t->compute, gradient_at(t, PARAM_TOKEN, 0));
    linear_zero(&t->compute, gradient_at(t, PARAM_POSITION, 0));
}

double transformer_gradients(struct transformer *t, uint64_t step, struct matrix logits_out)
{
    ASSERT(t->shape.mode == CELL_MODE_TRAIN);
    struct buffers *b = &t->buffers;
    transformer_forward(t, step);
    double loss = head_backward(t, logits_out);
    for (size_t index = t->shape.L; index-- > 0;) {
        struct layer_buffers layer = buffers_layer(b, index);
        ffn_half_backward(t, step, index, &layer);
        attention_half_backward(t, step, index, &layer);
    }
    zero_tables(t);
    struct embedding drop = transformer_dropout(t, step, t->shape.L, TRANSFORMER_EMBEDDING);
    embedding_backward(&t->compute, &drop, b->inputs, b->positions, b->d_x,
                       gradient_at(t, PARAM_TOKEN, 0), gradient_at(t, PARAM_POSITION, 0));
    return loss;
}
