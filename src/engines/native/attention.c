#include "engines/native/attention.h"

#include <math.h>
#include <string.h>

#include "engines/native/buffers.h"
#include "engines/native/clones.h"
#include "engines/native/dropout.h"
#include "engines/native/elementary.h"
#include "engines/native/gemm.h"

/* All borrowed for the loop. */
struct attention_job {
    const struct compute *compute;
    const struct attention *attention;
    const float *qkv;
    float *att;
    float *lse; /* or NULL */
    const float *d_att;
    float *d_qkv;
    size_t blocks_count; /* of query rows */
};

/* One block of query rows of one head: where its operands are. */
struct block {
    size_t batch, head;
    size_t first;      /* query row */
    size_t rows;       /* query rows */
    size_t columns;    /* keys that any of the rows sees */
    size_t qkv_stride; /* between positions, in qkv */
    size_t att_stride; /* and in att */
    size_t qkv_at;     /* q of the head's position 0; k and v follow at +C and +2C */
    size_t att_at;
    size_t lse_at; /* of the head's position 0 */
};

static struct block block_make(const struct attention *a, size_t batch, size_t head, size_t index)
{
    struct block block = {.batch = batch, .head = head, .first = index * ATTENTION_ROWS};
    block.rows = a->T - block.first < ATTENTION_ROWS ? a->T - block.first : ATTENTION_ROWS;
    block.columns = a->is_causal ? block.first + block.rows : a->T;
    block.att_stride = a->H * a->D;
    block.qkv_stride = 3 * block.att_stride;
    block.qkv_at = batch * a->T * block.qkv_stride + head * a->D;
    block.att_at = batch * a->T * block.att_stride + head * a->D;
    block.lse_at = (batch * a->H + head) * a->T;
    return block;
}

static void *gemm_place(const struct compute *compute, unsigned thread_index)
{
    return compute->thread_workspace + thread_index * compute->thread_workspace_bytes;
}

static float *scores_place(const struct compute *compute, unsigned thread_index)
{
    return (float *)(void *)((char *)gemm_place(compute, thread_index) + buffers_scores_offset());
}

/* Keys that query row `row` sees. */
ALWAYS_INLINE size_t seen_columns(const struct attention *a, const struct block *block, size_t row)
{
    return a->is_causal ? block->first + row + 1 : block->columns;
}

/* scores (rows, columns) = scale q k^T */
static void scores_make(const struct attention *a, const struct block *block, const float *qkv,
                        float *scores, void *workspace)
{
    const float *q = qkv + block->qkv_at + block->first * block->qkv_stride;
    const float *k = qkv + block->qkv_at + block->att_stride;
    gemm_serial(block->rows, block->columns, a->D, (float)(1.0 / sqrt((double)a->D)),
                (struct gemm_operand){q, block->qkv_stride, false},
                (struct gemm_operand){k, block->qkv_stride, true}, 0.0f, scores, block->columns,
                workspace);
}

/* Dropout of one row of P, or of its gradient. */
static void drop_row(const struct attention *a, const struct block *block, size_t row,
                     float *values)
{
    if (a->dropout > 0)
        dropout_apply(values, seen_columns(a, block, row), a->dropout_key,
                      (uint64_t)(block->lse_at + block->first + row) * a->T, a->dropout);
}

/* scores -> P in place; masked columns become 0. */
static CLONES void softmax_rows(const struct attention *a, const struct block *block, float *scores,
                                float *lse)
{
    for (size_t row = 0; row < block->rows; row++) {
        float *p = scores + row * block->columns;
        size_t seen = seen_columns(a, block, row);
        float max = max_f32(p, seen);
        double sum = exp_row_f32(p, seen, max);
        float inverse = (float)(1.0 / sum);
        for (size_t i = 0; i < seen; i++)
            p[i] *= inverse;
        memset(p + seen, 0, (block->columns - seen) * sizeof(float));
        if (lse != NULL)
            lse[block->lse_at + block->first + row] = max + (float)log(sum);
    }
}

static void forward_task(void *context, unsigned thread_index, size_t begin, size_t end)
{
    const struct attention_job *job = context;
    const struct attention *a = job->attention;
    void *workspace = gemm_place(job->compute, thread_index);
    float *scores = scores_place(job->compute, thread_index);
    for (size_t item = begin; item < end; item++) {
        size_t head = item / job->blocks_count % a->H;
        struct block block =
            block_make(a, item / job->blocks_count / a->H, head, item % job->blocks_count);
        scores_make(a, &block, job->qkv, scores, workspace);
        softmax_rows(a, &block, scores, job->lse);
        for (size_t row = 0; row < block.rows; row++)
            drop_row(a, &block, row, scores + row * block.columns);
        const float *v = job->qkv + block.qkv_at + 2 * block.att_stride;
        float *att = job->att + block.att_at + block.first * block.att_stride;
        gemm_serial(block.rows, a->D, block.columns, 1.0f,
                    (struct gemm_operand){scores, block.columns, false},
                    (struct gemm_operand){v, block.qkv_stride, false}, 0.0f, att, block.att_stride,
                    workspace);
    }
}

static struct attention_job job_make(const struct compute *compute, const struct attention *a,
                                     struct matrix qkv, struct matrix att, struct matrix lse)
{
    ASSERT(matrix_is_shaped(qkv, a->B * a->T, 3 * a->H * a->D));
    ASSERT(matrix_is_shaped(att, a->B * a->T, a->H * a->D));
    ASSERT(matrix_is_none(lse) || matrix_is_shaped(lse, a->B * a->H, a->T));
    return (struct attention_job){.compute = compute,
                                  .attention = a,
                                  .qkv = matrix_floats(qkv),
                                  .att = matrix_floats(att),
                                  .lse = matrix_floats(lse),
                                  .blocks_count = (a->T + ATTENTION_ROWS - 1) / ATTENTION_ROWS};
}

/* Of one of its matmuls, in full: what a causal mask leaves out is counted, as in `step_flops`. */
static double attention_matmul_flops(const struct attention *a)
{
    return 2.0 * (double)(a->B * a->H) * (double)a->T * (double)a->T * (double)a->D;
}

void attention_forward(const struct compute *compute, const struct attention *attention,
                       struct matrix qkv, struct matrix att, struct matrix lse)
{
    struct attention_job job = job_make(compute, attention, qkv, att, lse);
    OPERATION(compute, "attention", 2 * attention_matmul_flops(attention));
    pool_run(compute->pool, attention->B * attention->H * job.blocks_count, 1, forward_task, &job);
}

/* scores -> P, from the log-sum-exp kept. */
static CLONES void softmax_again(const struct attention *a, const struct block *block,
                                 float *scores, const float *lse)
{
    for (size_t row = 0; row < block->rows; row++) {
        float *p = scores + row * block->columns;
        size_t seen = seen_columns(a, block, row);
        float shift = lse[block->lse_at + block->first + row];
        for (size_t i = 0; i < seen; i++)
            p[i] = exp_f32(p[i] - shift);
        memset(p + seen, 0, (block->columns - seen) * sizeof(float));
    }
}

/* d_scores (holding dP) -> dS = scale P (dP - dot), dot = sum over j of P dP, which is the dot
 * product of att and d_att: with dropout too, as both carry the same mask. */
static CLONES void softmax_backward(const struct attention *a, const struct block *block,
                                    const float *att, const float *d_att, const float *p_all,
                                    float *d_scores)
{
    float scale = (float)(1.0 / sqrt((double)a->D));
    for (size_t row = 0; row < block->rows; row++) {
        size_t at = block->att_at + (block->first + row) * block->att_stride;
        float dot = dot_f32(att + at, d_att + at, a->D);
        const float *p = p_all + row * block->columns;
        float *d = d_scores + row * block->columns;
        for (size_t i = 0; i < block->columns; i++)
            d[i] = scale * p[i] * (d[i] - dot);
    }
}

/* One block of query rows: its dq, and its share of the head's dk and dv. */
static void backward_block(const struct attention_job *job, const struct block *block,
                           bool is_first, unsigned thread_index)
{
    const struct attention *a = job->attention;
    void *workspace = gemm_place(job->compute, thread_index);
    float *p = scores_place(job->compute, thread_index);
    float *d_p = p + block->rows * block->columns;
    float beta = is_first ? 0.0f : 1.0f;
    const float *d_att = job->d_att + block->att_at + block->first * block->att_stride;
    size_t first_at = block->qkv_at + block->first * block->qkv_stride;
    size_t k_at = block->qkv_at + block->att_stride;
    size_t v_at = block->qkv_at + 2 * block->att_stride;
    struct gemm_operand d_out = {d_att, block->att_stride, false};
    struct gemm_operand d_s = {d_p, block->columns, false};

    scores_make(a, block, job->qkv, p, workspace);
    softmax_again(a, block, p, job->lse);
    /* dP = mask (d_att v^T) */
    gemm_serial(block->rows, block->columns, a->D, 1.0f, d_out,
                (struct gemm_operand){job->qkv + v_at, block->qkv_stride, true}, 0.0f, d_p,
                block->columns, workspace);
    for (size_t row = 0; row < block->rows; row++)
        drop_row(a, block, row, d_p + row * block->columns);
    softmax_backward(a, block, job->att, job->d_att, p, d_p);
    /* dv += dropout(P)^T d_att */
    for (size_t row = 0; row < block->rows; row++)
        drop_row(a, block, row, p + row * block->columns);
    gemm_serial(block->columns, a->D, block->rows, 1.0f,
                (struct gemm_operand){p, block->columns, true}, d_out, beta, job->d_qkv + v_at,
                block->qkv_stride, workspace);
    /* dk += dS^T q; dq = dS k */
    d_s.is_transposed = true;
    gemm_serial(block->columns, a->D, block->rows, 1.0f, d_s,
                (struct gemm_operand){job->qkv + first_at, block->qkv_stride, false}, beta,
                job->d_qkv + k_at, block->qkv_stride, workspace);
    d_s.is_transposed = false;
    gemm_serial(block->rows, a->D, block->columns, 1.0f, d_s,
                (struct gemm_operand){job->qkv + k_at, block->qkv_stride, false}, 0.0f,
                job->d_qkv + first_at, block->qkv_stride, workspace);
}

static void backward_task(void *context, unsigned thread_index, size_t begin, size_t end)
{
    const struct attention_job *job = context;
    const struct attention *a = job->attention;
    for (size_t item = begin; item < end; item++) {
        /* The last block sees every key even under a causal mask: it sets dk and dv. */
        for (size_t index = job->blocks_count; index-- > 0;) {
            struct block block = block_make(a, item / a->H, item % a->H, index);
            backward_block(job, &block, index + 1 == job->blocks_count, thread_index);
        }
    }
}

void attention_backward(const struct compute *compute, const struct attention *attention,
                        struct matrix qkv, struct matrix att, struct matrix lse,
                        struct matrix d_att, struct matrix d_qkv)
{
    struct attention_job job = job_make(compute, attention, qkv, att, lse);
    ASSERT(matrix_is_shaped(d_att, att.rows, att.columns));
    ASSERT(matrix_is_shaped(d_qkv, qkv.rows, qkv.columns));
    job.d_att = matrix_floats(d_att);
    job.d_qkv = matrix_floats(d_qkv);
    OPERATION(compute, "attention backward", 5 * attention_matmul_flops(attention));
    pool_run(compute->pool, attention->B * attention->H, 1, backward_task, &job);
}
