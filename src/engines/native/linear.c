#include "engines/native/linear.h"

#include <stdint.h>
#include <string.h>

#include "engines/native/clones.h"
#include "engines/native/elementary.h"
#include "engines/native/gemm.h"

/* So few rows are dot products with the weights' rows, bias included, in one loop of the pool. */
#define FEW_ROWS 2
/* Columns that one thread sums at a time. */
#define SUM_COLUMNS 128
/* Outputs of a thread's share with few rows. */
#define FEW_ROWS_GRAIN 16

struct linear_job {
    const struct linear *linear;
    size_t rows;
    const float *x;
    float *y;
};

static CLONES void few_rows_task(void *context, unsigned thread_index, size_t begin, size_t end)
{
    (void)thread_index;
    const struct linear_job *job = context;
    size_t in = job->linear->in;
    size_t out = job->linear->out;
    for (size_t o = begin; o < end; o++) {
        const float *weight = job->linear->weight + o * in;
        float bias = job->linear->bias == NULL ? 0.0f : job->linear->bias[o];
        for (size_t row = 0; row < job->rows; row++)
            job->y[row * out + o] = bias + dot_f32(weight, job->x + row * in, in);
    }
}

static void fill_bias_task(void *context, unsigned thread_index, size_t begin, size_t end)
{
    (void)thread_index;
    const struct linear_job *job = context;
    size_t out = job->linear->out;
    for (size_t row = begin; row < end; row++)
        memcpy(job->y + row * out, job->linear->bias, out * sizeof(float));
}

void linear_forward(const struct compute *compute, const struct linear *linear, size_t rows,
                    const float *x, float *y)
{
    if (rows == 0)
        return;
    struct linear_job job = {.linear = linear, .rows = rows, .x = x, .y = y};
    if (rows <= FEW_ROWS) {
        size_t grain = compute_row_grain(linear->in);
        pool_run(compute->pool, linear->out, grain > FEW_ROWS_GRAIN ? grain : FEW_ROWS_GRAIN,
                 few_rows_task, &job);
        return;
    }
    if (linear->bias != NULL)
        pool_run(compute->pool, rows, compute_row_grain(linear->out), fill_bias_task, &job);
    gemm(compute->pool, rows, linear->out, linear->in, 1.0f,
         (struct gemm_operand){x, linear->in, false},
         (struct gemm_operand){linear->weight, linear->in, true},
         linear->bias != NULL ? 1.0f : 0.0f, y, linear->out, compute->gemm_workspace);
}

void linear_backward_input(const struct compute *compute, const struct linear *linear, size_t rows,
                           const float *dy, float *d_x, bool is_added)
{
    if (rows == 0)
        return;
    gemm(compute->pool, rows, linear->in, linear->out, 1.0f,
         (struct gemm_operand){dy, linear->out, false},
         (struct gemm_operand){linear->weight, linear->in, false}, is_added ? 1.0f : 0.0f, d_x,
         linear->in, compute->gemm_workspace);
}

struct sum_job {
    const float *dy;
    size_t rows;
    size_t out;
    float *d_bias;
};

/* Items are blocks of columns, so that every sum is one thread's, in the order of the rows. */
static CLONES void column_sums_task(void *context, unsigned thread_index, size_t begin, size_t end)
{
    (void)thread_index;
    const struct sum_job *job = context;
    for (size_t block = begin; block < end; block++) {
        size_t first = block * SUM_COLUMNS;
        size_t count = job->out - first < SUM_COLUMNS ? job->out - first : SUM_COLUMNS;
        float sums[SUM_COLUMNS] = {0};
        for (size_t row = 0; row < job->rows; row++) {
            const float *dy = job->dy + row * job->out + first;
            for (size_t i = 0; i < count; i++)
                sums[i] += dy[i];
        }
        memcpy(job->d_bias + first, sums, count * sizeof(float));
    }
}

void linear_backward_weight(const struct compute *compute, const struct linear *linear, size_t rows,
                            const float *x, const float *dy, float *d_weight, float *d_bias,
                            bool is_added)
{
    if (d_bias != NULL) {
        struct sum_job job = {.dy = dy, .rows = rows, .out = linear->out, .d_bias = d_bias};
        pool_run(compute->pool, (linear->out + SUM_COLUMNS - 1) / SUM_COLUMNS, 1, column_sums_task,
                 &job);
    }
    if (rows == 0) {
        if (!is_added)
            linear_zero(compute, d_weight, linear->out * linear->in);
        return;
    }
    gemm(compute->pool, linear->out, linear->in, rows, 1.0f,
         (struct gemm_operand){dy, linear->out, true}, (struct gemm_operand){x, linear->in, false},
         is_added ? 1.0f : 0.0f, d_weight, linear->in, compute->gemm_workspace);
}

static void zero_task(void *context, unsigned thread_index, size_t begin, size_t end)
{
    (void)thread_index;
    memset((float *)context + begin, 0, (end - begin) * sizeof(float));
}

void linear_zero(const struct compute *compute, float *values, size_t count)
{
    pool_run(compute->pool, count, COMPUTE_GRAIN_FLOATS, zero_task, values);
}
