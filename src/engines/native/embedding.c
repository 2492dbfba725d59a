#include "engines/native/embedding.h"

#include <string.h>

#include "engines/native/clones.h"
#include "engines/native/dropout.h"

#define EMBEDDING_COLUMNS 64

/* All borrowed for the loop. */
struct embedding_job {
    const struct embedding *embedding;
    size_t rows;
    size_t dim;
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

static void drop_row(const struct embedding_job *job, size_t row, float *values)
{
    const struct embedding *e = job->embedding;
    if (e->dropout > 0)
        dropout_apply(values, job->dim, e->dropout_key, (uint64_t)row * job->dim, e->dropout);
}

static CLONES void look_up_task(void *context, unsigned thread_index, size_t begin, size_t end)
{
    (void)thread_index;
    const struct embedding_job *job = context;
    size_t dim = job->dim;
    for (size_t row = begin; row < end; row++) {
        const float *token = job->token_table + job->tokens[row] * dim;
        const float *position = job->position_table + job->positions[row] * dim;
        float *out = job->out + row * dim;
        INDEPENDENT
        for (size_t i = 0; i < dim; i++)
            out[i] = token[i] + position[i];
        drop_row(job, row, out);
    }
}

void embedding_forward(const struct compute *compute, const struct embedding *embedding,
                       const uint32_t *tokens, const uint32_t *positions, struct matrix token_table,
                       struct matrix position_table, struct matrix out)
{
    struct embedding_job job = {.embedding = embedding,
                                .dim = out.columns,
                                .tokens = tokens,
                                .positions = positions,
                                .token_table = matrix_floats(token_table),
                                .position_table = matrix_floats(position_table),
                                .out = matrix_floats(out)};
    ASSERT(token_table.columns == out.columns && position_table.columns == out.columns);
    OPERATION(compute, "embedding", 0);
    pool_run(compute->pool, out.rows, compute_row_grain(out.columns), look_up_task, &job);
}

/* Items are blocks of columns: rows with equal tokens are added by one thread, in order. */
static CLONES void look_up_backward_task(void *context, unsigned thread_index, size_t begin,
                                         size_t end)
{
    (void)thread_index;
    const struct embedding_job *job = context;
    size_t dim = job->dim;
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

static void drop_task(void *context, unsigned thread_index, size_t begin, size_t end)
{
    (void)thread_index;
    const struct embedding_job *job = context;
    for (size_t row = begin; row < end; row++)
        drop_row(job, row, job->out + row * job->dim);
}

void embedding_backward(const struct compute *compute, const struct embedding *embedding,
                        const uint32_t *tokens, const uint32_t *positions, struct matrix d_out,
                        struct matrix d_token_table, struct matrix d_position_table)
{
    size_t dim = d_out.columns;
    struct embedding_job job = {.embedding = embedding,
                                .rows = d_out.rows,
                                .dim = dim,
                                .tokens = tokens,
                                .positions = positions,
                                .out = matrix_floats(d_out),
                                .d_token_table = matrix_floats(d_token_table),
                                .d_position_table = matrix_floats(d_position_table)};
    ASSERT(d_token_table.columns == dim && d_position_table.columns == dim);
    OPERATION(compute, "embedding backward", 0);
    if (embedding->dropout > 0)
        pool_run(compute->pool, d_out.rows, compute_row_grain(dim), drop_task, &job);
    pool_run(compute->pool, (dim + EMBEDDING_COLUMNS - 1) / EMBEDDING_COLUMNS, 1,
             look_up_backward_task, &job);
}

static CLONES void add_task(void *context, unsigned thread_index, size_t begin, size_t end)
{
    (void)thread_index;
    const struct embedding_job *job = context;
    size_t dim = job->dim;
    for (size_t row = begin; row < end; row++) {
        float *values = job->values + row * dim;
        const float *residual = job->residual + row * dim;
        float *out = job->out + row * dim;
        drop_row(job, row, values);
        INDEPENDENT
        for (size_t i = 0; i < dim; i++)
            out[i] = residual[i] + values[i];
    }
}

void embedding_add_dropped(const struct compute *compute, const struct embedding *embedding,
                           struct matrix values, struct matrix residual, struct matrix out)
{
    struct embedding_job job = {.embedding = embedding,
                                .dim = out.columns,
                                .values = matrix_floats(values),
                                .residual = matrix_floats(residual),
                                .out = matrix_floats(out)};
    ASSERT(matrix_is_shaped(values, out.rows, out.columns) &&
           matrix_is_shaped(residual, out.rows, out.columns));
    OPERATION(compute, "residual", 0);
    pool_run(compute->pool, out.rows, compute_row_grain(out.columns), add_task, &job);
}

static void copy_task(void *context, unsigned thread_index, size_t begin, size_t end)
{
    (void)thread_index;
    const struct embedding_job *job = context;
    size_t dim = job->dim;
    for (size_t row = begin; row < end; row++) {
        memcpy(job->out + row * dim, job->from + row * dim, dim * sizeof(float));
        drop_row(job, row, job->out + row * dim);
    }
}

void embedding_copy_dropped(const struct compute *compute, const struct embedding *embedding,
                            struct matrix values, struct matrix out)
{
    struct embedding_job job = {.embedding = embedding,
                                .dim = out.columns,
                                .from = matrix_floats(values),
                                .out = matrix_floats(out)};
    ASSERT(matrix_is_shaped(values, out.rows, out.columns));
    OPERATION(compute, "residual backward", 0);
    pool_run(compute->pool, out.rows, compute_row_grain(out.columns), copy_task, &job);
}
