#include "engines/python/predict.h"

#include <string.h>

#include "spec/device.h"

#define MIB (1024.0 * 1024.0)

/* What a process grows by beside its tensors: code and tables that come in with the first step, and
 * for JAX what compiling leaves: of decode two programs. On a device the libraries' workspaces. */
#define TORCH_BYTES           (32 * MIB)
#define TORCH_HOST_BF16_BYTES (64 * MIB) /* kernels that are made for the CPU at hand */
#define JAX_HOST_TRAIN_BYTES  (420 * MIB)
#define JAX_HOST_INFER_BYTES  (200 * MIB)
#define JAX_HOST_DECODE_BYTES (250 * MIB)
#define JAX_TILE_ROWS_MAX     128
/* jax_model.py: more weights of attention than this are made again in the backward pass. */
#define JAX_KEPT_SCORES_BYTES_MAX (1024.0 * MIB)

/* What every item is counted in: elements, and bytes of one element. Borrowed: from the cell. */
struct sizes {
    const struct model_spec *spec;
    double rows;     /* tokens in a step; on the host of decode those of its prompt */
    double width;    /* rows x dim */
    double heads;    /* rows x dim of the heads that the device has */
    double logits;   /* rows x vocabulary */
    double head;     /* parameters of the head */
    double experts;  /* parameters of a layer's experts, or of its feed-forward */
    double hidden;   /* elements between a feed-forward's matmuls */
    double slots;    /* rows of all experts x dim; 0 without experts */
    double scores;   /* attention weights of a layer */
    double params;   /* all */
    double param;    /* bytes: parameters, gradients, moments */
    double compute;  /* operands of matmuls */
    double residual; /* the stream between layers */
    struct parallel layout;
    double share;      /* of parameters, gradients and moments that one device has */
    double early;      /* of its parameters those whose gradients lie beside what is kept */
    double moment;     /* bytes of a moment */
    double layer;      /* parameters of a layer */
    double root;       /* parameters beside the layers */
    double divided;    /* parameters of a layer that tp or ep divides */
    bool is_sharded;   /* by fsdp */
    bool is_again;     /* layers are computed again in the backward pass */
    bool is_published; /* every expert for every token */
    bool is_cast;      /* parameters are cast for matmuls */
    bool is_host, is_train, is_decode, has_dropout;
};

static bool item_sizes(enum cell_precision precision, struct sizes *sizes)
{
    switch (precision) {
    case CELL_PRECISION_FP32:
    case CELL_PRECISION_TF32: sizes->param = sizes->compute = 4; return true;
    case CELL_PRECISION_BF16:
    case CELL_PRECISION_FP16:
        sizes->param = 4;
        sizes->compute = 2;
        return true;
    case CELL_PRECISION_BF16_PURE: sizes->param = sizes->compute = 2; return true;
    case CELL_PRECISION_INT8: return false;
    }
    return false;
}

/* Heads and columns of a feed-forward, or experts. */
static double divided_params(const struct model_spec *spec, const struct parallel *layout)
{
    bool is_moe = spec->ffn == MODEL_FFN_MOE_SWIGLU;
    double dim = spec->dim, hidden = spec->ffn_hidden;
    double columns = is_moe ? spec->experts_count * (3 * dim + 2) * hidden : (2 * dim + 1) * hidden;
    if (layout->tp > 1)
        return (4 * dim + 3) * dim + columns;
    return layout->ep > 1 && is_moe ? columns + spec->experts_count * dim : 0;
}

/* What each device has of the layers' parameters, heads and columns; see divided_params(). */
static void divide(struct sizes *s)
{
    double columns = s->layout.tp, parts = s->layout.tp * s->layout.ep;
    s->heads = s->width / columns;
    s->hidden /= columns;
    s->scores /= columns;
    s->divided = divided_params(s->spec, &s->layout);
    s->experts /= s->divided > 0 ? parts : 1;
    double elsewhere = s->divided * (1 - 1 / parts);
    s->layer -= elsewhere;
    s->is_sharded = s->layout.fsdp > 1;
    s->share = (1 - s->spec->layers_count * elsewhere / s->params) / s->layout.fsdp;
}

static bool sizes_of(const struct cell *cell, struct sizes *ret)
{
    const struct model_spec *spec = &cell->model;
    struct sizes s = {.spec = spec};
    if (cell->model_ref[0] != '\0' || !item_sizes(cell->precision, &s))
        return false;
    bool is_moe = spec->ffn == MODEL_FFN_MOE_SWIGLU;
    double dim = spec->dim, hidden = spec->ffn_hidden;
    s.layout = cell_layout(cell);
    s.is_host = device_is_host(cell->device);
    s.is_train = cell->mode == CELL_MODE_TRAIN;
    s.is_decode = cell->mode == CELL_MODE_DECODE;
    /* A process's peak has seen the prompt; an allocator's begins after it. */
    double rows = (double)cell->batch_size / parallel_row_shares(&s.layout) / cell_accumulate(cell);
    s.rows = rows * (s.is_decode && !s.is_host ? 1 : cell->seq_len);
    s.width = s.rows * dim;
    s.logits = s.rows * spec->vocab_size;
    s.head = (double)spec->vocab_size * dim;
    s.experts = (is_moe ? 3.0 * spec->experts_count : 2.0) * dim * hidden;
    s.is_published = is_moe && cell->options.moe == CELL_MOE_PUBLISHED;
    double ways = s.is_published ? spec->experts_count : spec->experts_active;
    s.hidden = s.rows * ways * hidden;
    s.slots = is_moe ? s.width * ways : 0;
    s.scores = s.rows * spec->heads_count * cell->seq_len;
    s.params = (double)model_params_total(spec);
    s.root = (spec->is_head_tied ? 1 : 2) * s.head + (double)spec->max_seq_len * dim;
    s.layer = (s.params - s.root) / spec->layers_count;
    divide(&s);
    s.moment = strcmp(cell_optimizer_dtype_name(cell), "bf16") == 0 ? 2 : 4;
    s.is_again = cell->options.recompute != CELL_RECOMPUTE_OFF;
    /* On a host what a backward pass gives back lies between other blocks, and gradients go on top
     * of it; the first part of a step leaves its gradients to the second. */
    s.early = s.is_host || cell_accumulate(cell) > 1 ? s.params * s.share : 0;
    s.is_cast = s.compute < s.param;
    s.residual = s.param;
    s.has_dropout = s.is_train && spec->dropout > 0;
    *ret = s;
    return true;
}

static double larger(double a, double b)
{
    return a > b ? a : b;
}

/* Weights, moments, cache, and what else there is at the highest point of a step: for training what
 * is kept for the backward pass and gradients that lie beside it, or all gradients. All of one
 * device. */
static struct proto_memory_parts parts_of(const struct cell *cell, const struct sizes *s,
                                          double kept_bytes, double other_bytes)
{
    double weights = s->params * s->param * s->share;
    double end_bytes = s->logits * s->compute; /* the output lives to the end of a step */
    double early = s->is_train ? s->early * s->param : 0;
    bool is_at_end = s->is_train && weights + end_bytes > kept_bytes + early;
    double cache = 2.0 * s->spec->layers_count * cell->batch_size / device_count(cell->device) *
                   cell->seq_len * s->spec->dim * s->compute;
    double moments = 2 * s->params * s->moment * s->share;
    struct proto_memory_parts parts = {.is_known = true,
                                       .weights_bytes = (uint64_t)weights,
                                       .gradients_bytes = (uint64_t)(is_at_end ? weights : early),
                                       .optimizer_bytes = s->is_train ? (uint64_t)moments : 0,
                                       .activations_bytes =
                                           (uint64_t)(is_at_end ? end_bytes : kept_bytes),
                                       .kv_cache_bytes = s->is_decode ? (uint64_t)cache : 0,
                                       .other_bytes = (uint64_t)other_bytes};
    parts.total_bytes = parts.weights_bytes + parts.gradients_bytes + parts.optimizer_bytes +
                        parts.activations_bytes + parts.kv_cache_bytes + parts.other_bytes;
    return parts;
}

/* --- PyTorch --- */

/* What backward needs of attention, its norm and the feed-forward's, of one layer. A CPU has no
 * fused kernels with dropout, for RMS norms neither: intermediates in fp32, a copy for each batched
 * matmul, attention weights before and after dropout and what multiplied them. */
static double torch_kept_attention(const struct sizes *s)
{
    bool is_rms = s->spec->norm == MODEL_NORM_RMS;
    double turned = s->spec->rotary_dim > 0 ? 2 * s->compute : 0;
    if (!s->is_host)
        return s->width * (2 * s->residual + 2 * s->compute + 1) +
               s->heads * (4 * s->compute + turned);
    double kept = s->width * (s->compute + (is_rms ? 4 * 4 : 2 * s->residual)) +
                  s->heads * (4 * s->compute + turned);
    return kept + (s->has_dropout ? 3 * s->scores * s->compute : 0);
}

/* The same of a feed-forward. The mask of dropout is a number on a CPU, a byte on a device; a
 * compiler joins activation, product and dropout. */
static double torch_kept_hidden(const struct cell *cell, const struct sizes *s)
{
    bool is_compiled = cell->options.compile != CELL_COMPILE_OFF;
    if (s->spec->ffn == MODEL_FFN_GELU)
        return s->hidden * s->compute * (is_compiled ? 1 : 2);
    double mask = !s->has_dropout || is_compiled ? 0 : s->is_host ? s->compute : 1;
    double hidden = s->hidden * ((is_compiled ? 3 : 4) * s->compute + mask);
    if (!s->is_published)
        return hidden + 2 * s->slots * s->compute;
    double casts = s->is_cast && !is_compiled ? 3.5 : 0;
    return hidden + s->slots * s->compute * (1 + casts);
}

/* From the logits to their gradient: they, their log-softmax and two gradients, in fp32. */
static double torch_loss(const struct sizes *s)
{
    return s->logits * (s->compute + 12);
}

/* What is kept for the backward pass, at its highest point. Casts of weights are kept too, but for
 * those that fsdp gathers again. Of a layer that is computed again there is its input; the rest is
 * there for one at a time, after the loss; a process keeps room for both. */
static double torch_kept(const struct cell *cell, const struct sizes *s)
{
    double layers = s->spec->layers_count;
    double layer = torch_kept_attention(s) + torch_kept_hidden(cell, s);
    double cast = s->is_cast && !s->is_sharded ? s->compute : 0;
    double ends = 4 * s->width * 4 + s->head * s->param / s->layout.fsdp;
    double loss = torch_loss(s);
    if (!s->is_again)
        return layers * layer + s->params * s->share * cast + loss + ends;
    double again = layer + s->layer * cast + s->logits * s->compute;
    return layers * s->width * s->residual + s->root * cast + ends +
           (s->is_host ? loss + again : larger(loss, again));
}

/* What fsdp holds beside a device's own part: what is gathered, which is all but layers, and two of
 * these, one ahead; and of one its gradients, before and after they are cast for their sum. */
static double torch_gathered(const struct sizes *s)
{
    if (!s->is_sharded)
        return 0;
    double gradients = s->is_train ? s->layer * (s->compute + s->param) : 0;
    return (s->root + 2 * s->layer) * s->compute + gradients;
}

/* What a forward pass without gradients holds at once, beside the stream: the most of a
 * feed-forward, or the logits. A process keeps room for both, and for the logits of the step
 * before. */
static double torch_passing(const struct sizes *s)
{
    double cast = s->is_cast ? s->compute : 0;
    double ways = s->is_published ? s->spec->experts_count : 1;
    double hidden = 4 * s->hidden / ways * s->compute + 2 * s->slots / ways * s->compute +
                    s->experts / ways * cast;
    double head = s->logits * s->compute + s->head * cast;
    double stream = 3 * s->width * s->residual;
    if (!s->is_host)
        return stream + larger(head, hidden);
    return stream + hidden + head + (s->is_decode ? 0 : s->logits * s->compute);
}

struct proto_memory_parts predict_torch(const struct cell *cell)
{
    struct sizes s;
    if (!sizes_of(cell, &s))
        return (struct proto_memory_parts){0};
    /* DistributedDataParallel keeps its buckets, of what is on more than one device. */
    if (!s.is_sharded && s.layout.ddp * s.layout.ep > 1)
        s.early = larger(s.early, s.params - s.spec->layers_count * s.divided);
    double process = s.is_host && s.compute < 4 ? TORCH_HOST_BF16_BYTES : TORCH_BYTES;
    double kept = s.is_train ? torch_kept(cell, &s) : torch_passing(&s);
    return parts_of(cell, &s, kept, process + torch_gathered(&s));
}

/* --- JAX --- */

/* Rows that all experts of a device work on (jax_moe.py): padded tiles on a CPU, ranks elsewhere.
 * With ep all devices' tokens come to its experts, and it has room for as many as can be theirs. */
static double jax_expert_rows(const struct sizes *s)
{
    const struct model_spec *spec = s->spec;
    double experts = (double)spec->experts_count / s->layout.ep, tokens = s->rows * s->layout.ep;
    double count = tokens * spec->experts_active;
    if (spec->ffn != MODEL_FFN_MOE_SWIGLU)
        return s->rows;
    if (s->is_published)
        return s->rows * spec->experts_count;
    double rows = 0;
    if (s->is_host) {
        double tile = 1;
        while (4 * tile * experts <= count && tile < JAX_TILE_ROWS_MAX)
            tile *= 2;
        return count + tile * experts;
    }
    for (uint32_t rank = 0; rank < experts; rank++) {
        double most = count / (rank + 1);
        rows += most < tokens ? most : tokens;
    }
    return rows;
}

static double jax_process(const struct sizes *s)
{
    if (!s->is_host)
        return 0;
    if (s->is_train)
        return JAX_HOST_TRAIN_BYTES;
    return s->is_decode ? JAX_HOST_DECODE_BYTES : JAX_HOST_INFER_BYTES;
}

struct proto_memory_parts predict_jax(const struct cell *cell)
{
    struct sizes s;
    bool is_plain = cell_accumulate(cell) == 1 && cell->options.recompute == CELL_RECOMPUTE_OFF;
    if (!is_plain || !sizes_of(cell, &s))
        return (struct proto_memory_parts){0};
    bool is_gelu = s.spec->ffn == MODEL_FFN_GELU;
    double rows = jax_expert_rows(&s);
    double hidden = rows * s.spec->ffn_hidden * s.compute / s.layout.tp;
    double slots = is_gelu ? 0 : rows * s.spec->dim * s.compute;
    double cast = s.is_cast ? s.compute : 0;
    double layers = s.spec->layers_count;
    double scores = s.scores * (s.compute + (s.is_host ? 8 : 4));
    if (!s.is_train) {
        double head = s.logits * s.compute;
        double passing = 2 * hidden + slots + (s.is_host ? scores : 0);
        double held = s.experts * cast + 10 * s.width * s.compute + larger(head, passing);
        return parts_of(cell, &s, held, jax_process(&s));
    }
    bool is_made_again = layers * s.scores * 4 > JAX_KEPT_SCORES_BYTES_MAX;
    double layer = 10 * s.width * s.compute + (is_gelu ? 2 : 3) * hidden + 2 * slots;
    double kept = layers * layer + (is_made_again ? 1 : layers) * scores;
    /* XLA keeps the gathered casts of fsdp, too. */
    double casts = s.params * cast * s.share * s.layout.fsdp;
    return parts_of(cell, &s, kept + 8 * s.logits + casts, jax_process(&s));
}
