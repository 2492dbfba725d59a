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
    double rows;       /* tokens in a step; on the host of decode those of its prompt */
    double width;      /* rows x dim */
    double logits;     /* rows x vocabulary */
    double head;       /* parameters of the head */
    double experts;    /* parameters of a layer's experts, or of its feed-forward */
    double hidden;     /* elements between a feed-forward's matmuls */
    double slots;      /* rows of all experts x dim; 0 without experts */
    double scores;     /* attention weights of a layer */
    double params;     /* all */
    double param;      /* bytes: parameters, gradients, moments */
    double compute;    /* operands of matmuls */
    double residual;   /* the stream between layers */
    double share;      /* of parameters, gradients and moments that one device has */
    double moment;     /* bytes of a moment */
    double layer;      /* parameters of a layer */
    double root;       /* parameters beside the layers */
    bool is_sharded;   /* share is that of fsdp */
    bool has_both;     /* gradients are there beside what is kept for the backward pass */
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

static bool sizes_of(const struct cell *cell, struct sizes *ret)
{
    const struct model_spec *spec = &cell->model;
    struct sizes s = {.spec = spec};
    /* What each device holds of matrices or experts that are divided is not known yet. */
    bool is_divided = cell->parallel == CELL_PARALLEL_TP || cell->parallel == CELL_PARALLEL_EP;
    if (cell->model_ref[0] != '\0' || is_divided || !item_sizes(cell->precision, &s))
        return false;
    bool is_moe = spec->ffn == MODEL_FFN_MOE_SWIGLU;
    double dim = spec->dim, hidden = spec->ffn_hidden;
    s.is_host = device_is_host(cell->device);
    s.is_train = cell->mode == CELL_MODE_TRAIN;
    s.is_decode = cell->mode == CELL_MODE_DECODE;
    /* A process's peak has seen the prompt; an allocator's begins after it. */
    double rows = (double)cell->batch_size / device_count(cell->device) / cell_accumulate(cell);
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
    s.is_sharded = cell->parallel == CELL_PARALLEL_FSDP;
    s.share = s.is_sharded ? 1.0 / device_count(cell->device) : 1;
    s.moment = strcmp(cell_optimizer_dtype_name(cell), "bf16") == 0 ? 2 : 4;
    s.is_again = cell->options.recompute != CELL_RECOMPUTE_OFF;
    /* DistributedDataParallel keeps its buckets; the first part leaves gradients to the second. */
    s.has_both = s.is_host || cell->parallel == CELL_PARALLEL_DDP || cell_accumulate(cell) > 1;
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
 * is kept for the backward pass, or the gradients, or both. On a host both: what a backward pass
 * gives back lies between other blocks, and the gradients go on top of it. All of one device. */
static struct proto_memory_parts parts_of(const struct cell *cell, const struct sizes *s,
                                          double kept_bytes, double other_bytes)
{
    double weights = s->params * s->param * s->share;
    double end_bytes = s->logits * s->compute; /* the output lives to the end of a step */
    bool has_gradients = s->is_train && (s->has_both || weights + end_bytes > kept_bytes);
    bool has_kept = !s->is_train || s->has_both || !has_gradients;
    double cache = 2.0 * s->spec->layers_count * cell->batch_size / device_count(cell->device) *
                   cell->seq_len * s->spec->dim * s->compute;
    double moments = 2 * s->params * s->moment * s->share;
    struct proto_memory_parts parts = {.is_known = true,
                                       .weights_bytes = (uint64_t)weights,
                                       .gradients_bytes = has_gradients ? (uint64_t)weights : 0,
                                       .optimizer_bytes = s->is_train ? (uint64_t)moments : 0,
                                       .activations_bytes =
                                           (uint64_t)(has_kept ? kept_bytes : end_bytes),
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
        return s->width * (2 * s->residual + 6 * s->compute + turned + 1);
    double kept = s->width * (5 * s->compute + turned + (is_rms ? 4 * 4 : 2 * s->residual));
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
    double ends = 4 * s->width * 4 + s->head * s->param * s->share;
    double loss = torch_loss(s);
    if (!s->is_again)
        return layers * layer + s->params * cast + loss + ends;
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
    double process = s.is_host && s.compute < 4 ? TORCH_HOST_BF16_BYTES : TORCH_BYTES;
    double kept = s.is_train ? torch_kept(cell, &s) : torch_passing(&s);
    return parts_of(cell, &s, kept, process + torch_gathered(&s));
}

/* --- JAX --- */

/* Rows that all experts work on (jax_moe.py): padded tiles on a CPU, ranks elsewhere. */
static double jax_expert_rows(const struct sizes *s)
{
    const struct model_spec *spec = s->spec;
    double count = s->rows * spec->experts_active;
    if (spec->ffn != MODEL_FFN_MOE_SWIGLU)
        return s->rows;
    if (s->is_published)
        return s->rows * spec->experts_count;
    double rows = 0;
    if (s->is_host) {
        double tile = 1;
        while (4 * tile * spec->experts_count <= count && tile < JAX_TILE_ROWS_MAX)
            tile *= 2;
        return count + tile * spec->experts_count;
    }
    for (uint32_t rank = 0; rank < spec->experts_count; rank++) {
        double most = count / (rank + 1);
        rows += most < s->rows ? most : s->rows;
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
    bool is_plain = cell->parallel == CELL_PARALLEL_NONE && cell_accumulate(cell) == 1 &&
                    cell->options.recompute == CELL_RECOMPUTE_OFF;
    if (!is_plain || !sizes_of(cell, &s))
        return (struct proto_memory_parts){0};
    bool is_gelu = s.spec->ffn == MODEL_FFN_GELU;
    double rows = jax_expert_rows(&s);
    double hidden = rows * s.spec->ffn_hidden * s.compute;
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
    return parts_of(cell, &s, kept + 8 * s.logits + s.params * cast, jax_process(&s));
}
