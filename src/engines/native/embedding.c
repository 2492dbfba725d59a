#include "engines/native/embedding.h"

#include <string.h>

#include "engines/native/clones.h"
#include "engines/native/dropout.h"

#define EMBEDDING_COLUMNS 64

struct embedding_job {
    const struct embedding *embedding;
    size_t rows;
    const uint32_t *tokens;
    const uint32_t *positions;
    const float *token_table;
    const float *position_table;
    const float *residual;
    const float *from;
    float *values;
    float *out;
    float *d_token_table;
    float *d_position_table;
};

static void drop_row(const struct embedding *e, size_t row, float *values)
{
    if (e->dropout > 0)
        dropout_apply(values, e->dim, e->dropout_key, (uint64_t)row * e->dim, e->dropout);
}

static CLONES void look_up_task(void *context, unsigned thread_index, size_t begin, size_t end)
{
    (void)thread_index;
    const struct embedding_job *job = context;
    size_t dim = job->embedding->dim;
    for (size_t row = begin; row < end; row++) {
        const float *token = job->token_table + job->tokens[row] * dim;
        const float *position = job->position_table + job->positions[row] * dim;
        float *out = job->out + row * dim;
        INDEPENDENT
        for (size_t i = 0; i < dim; i++)
            out[i] = token[i] + position[i];
        drop_row(job->embedding, row, out);
    }
}

void embedding_forward(const struct compute *compute, const struct embedding *embedding,
                       size_t rows, const uint32_t *tokens, const uint32_t *positions,
                       const float *token_table, const float *position_table, float *out)
{
    struct embedding_job job = {.embedding = embedding,
                                .tokens = tokens,
                                .positions = positions,
                                .token_table = token_table,
                                .position_table = position_table,
                                .out = out};
    pool_run(compute->pool, rows, compute_row_grain(embedding->dim), look_up_task, &job);
}

/* Items are blocks of columns: rows with equal tokens are added by one thread, in order. */
static CLONES void look_up_backward_task(void *context, unsigned thread_index, size_t begin,
                                         size_t end)
{
    (void)thread_index;
    const struct embedding_job *job = context;
    size_t dim = job->embedding->dim;
    size_t first = begin * EMBEDDING_COLUMNS;
    size_t last = end * EMBEDDING_COLUMNS < dim ? end * EMBEDDING_COLUMNS : dim;
    for (size_t row = 0; row < job->rows; row++) {
        const float *d_out = job->out + row * dim;
        float *d_token = job->d_token_table + job->tokens[row] * dim;
        float *d_position = job->d_position_table + job->positions[row] * dim;
        INDEPENDENT
        for (size_t i = first; i < last; i++) {
            d_token[i] += d_out[i];
            d_position[i] += d_out[i];
        }
    }
}

void embedding_backward(const struct compute *compute, const struct embedding *embedding,
                        size_t rows, const uint32_t *tokens, const uint32_t *positions,
                        float *d_out, float *d_token_table, float *d_position_table)
{
    struct embedding_job job = {.embedding = embedding,
                                .rows = rows,
                                .tokens = tokens,
                                .positions = positions,
                                .out = d_out,
                                .d_token_table = d_token_table,
                                .d_position_table = d_position_table};
    embedding_drop(compute, embedding, rows, d_out);
    pool_run(compute->pool, (embedding->dim + EMBEDDING_COLUMNS - 1) / EMBEDDING_COLUMNS, 1,
             look_up_backward_task, &job);
}

static void drop_task(void *context, unsigned thread_index, size_t begin, size_t end)
{
    (void)thread_index;
    const struct embedding_job *job = context;
    for (size_t row = begin; row < end; row++)
        drop_row(job->embedding, row, job->values + row * job->embedding->dim);
}

void embedding_drop(const struct compute *compute, const struct embedding *embedding, size_t rows,
                    float *values)
{
    struct embedding_job job = {.embedding = embedding, .values = values};
    if (embedding->dropout > 0)
        pool_run(compute->pool, rows, compute_row_grain(embedding->dim), drop_task, &job);
}

static CLONES void add_task(void *context, unsigned thread_index, size_t begin, size_t end)
{
    (void)thread_index;
    const struct embedding_job *job = context;
    size_t dim = job->embedding->dim;
    for (size_t row = begin; row < end; row++) {
        float *values = job->values + row * dim;
        const float *residual = job->residual + row * dim;
        float *out = job->out + row * dim;
        drop_row(job->embedding, row, values);
        INDEPENDENT
        for (size_t i = 0; i < dim; i++)
            out[i] = residual[i] + values[i];
    }
}

void embedding_add_dropped(const struct compute *compute, const struct embedding *embedding,
                           size_t rows, float *values, const float *residual, float *out)
{
    struct embedding_job job = {
        .embedding = embedding, .values = values, .residual = residual, .out = out};
    pool_run(compute->pool, rows, compute_row_grain(embedding->dim), add_task, &job);
}

static void copy_task(void *context, unsigned thread_index, size_t begin, size_t end)
{
    (void)thread_index;
    const struct embedding_job *job = context;
    size_t dim = job->embedding->dim;
    for (size_t row = begin; row < end; row++) {
        memcpy(job->out + row * dim, job->from + row * dim, dim * sizeof(float));
        drop_row(job->embedding, row, job->out + row * dim);
    }
}

void embedding_copy_dropped(const struct compute *compute, const struct embedding *embedding,
                            size_t rows, const float *values, float *out)
{
    struct embedding_job job = {.embedding = embedding, .from = values, .out = out};
    pool_run(compute->pool, rows, compute_row_grain(embedding->dim), copy_task, &job);
}
