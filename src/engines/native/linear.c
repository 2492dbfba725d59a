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

/* All borrowed for the loop. */
struct linear_job {
    size_t in;
    size_t out;
    const float *weight;
    const float *bias; /* or NULL */
    size_t rows;
    const float *x;
    float *y;
};

static CLONES void few_rows_task(void *context, unsigned thread_index, size_t begin, size_t end)
{
    (void)thread_index;
    const struct linear_job *job = context;
    size_t in = job->in;
    size_t out = job->out;
    for (size_t o = begin; o < end; o++) {
        const float *weight = job->weight + o * in;
        float bias = job->bias == NULL ? 0.0f : job->bias[o];
        for (size_t row = 0; row < job->rows; row++)
            job->y[row * out + o] = bias + dot_f32(weight, job->x + row * in, in);
    }
}

static void fill_bias_task(void *context, unsigned thread_index, size_t begin, size_t end)
{
    (void)thread_index;
    const struct linear_job *job = context;
    for (size_t row = begin; row < end; row++)
        memcpy(job->y + row * job->out, job->bias, job->out * sizeof(float));
}

/* Of each of the three matmuls. */
static double linear_flops(size_t rows, size_t in, size_t out)
{
    return 2.0 * (double)rows * (double)in * (double)out;
}

void linear_forward(const struct compute *compute, const struct linear *linear, struct matrix x,
                    struct matrix y)
{
    size_t rows = x.rows;
    size_t in = linear->weight.columns;
    size_t out = linear->weight.rows;
    ASSERT(x.columns == in && matrix_is_shaped(y, rows, out));
    if (rows == 0)
        return;
    OPERATION(compute, "linear", linear_flops(rows, in, out));
    bool has_bias = !matrix_is_none(linear->bias);
    if (rows <= FEW_ROWS || has_bias) {
        struct linear_job job = {.in = in,
                                 .out = out,
                                 .weight = matrix_floats(linear->weight),
                                 .bias = matrix_floats(linear->bias),
                                 .rows = rows,
                                 .x = matrix_floats(x),
                                 .y = matrix_floats(y)};
        if (rows <= FEW_ROWS) {
            size_t grain = compute_row_grain(in);
            pool_run(compute->pool, out, grain > FEW_ROWS_GRAIN ? grain : FEW_ROWS_GRAIN,
                     few_rows_task, &job);
            return;
        }
        pool_run(compute->pool, rows, compute_row_grain(out), fill_bias_task, &job);
    }
    gemm(compute->pool, 1.0f, (struct gemm_factor){x, false},
         (struct gemm_factor){linear->weight, true}, has_bias ? 1.0f : 0.0f, y,
         compute->gemm_workspace);
}

void linear_backward_input(const struct compute *compute, const struct linear *linear,
                           struct matrix dy, struct matrix d_x, bool is_added)
{
    OPERATION(compute, "linear backward",
              linear_flops(dy.rows, linear->weight.columns, linear->weight.rows));
    gemm(compute->pool, 1.0f, (struct gemm_factor){dy, false},
         (struct gemm_factor){linear->weight, false}, is_added ? 1.0f : 0.0f, d_x,
         compute->gemm_workspace);
}

/* All borrowed for the loop. */
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

void linear_backward_weight(const struct compute *compute, struct matrix x, struct matrix dy,
                            struct matrix d_weight, struct matrix d_bias, bool is_added)
{
    size_t out = d_weight.rows;
    OPERATION(compute, "linear backward", linear_flops(x.rows, d_weight.columns, out));
    if (!matrix_is_none(d_bias)) {
        struct sum_job job = {
            .dy = matrix_floats(dy), .rows = dy.rows, .out = out, .d_bias = matrix_floats(d_bias)};
        ASSERT(matrix_is_shaped(d_bias, 1, out) && dy.columns == out);
        pool_run(compute->pool, (out + SUM_COLUMNS - 1) / SUM_COLUMNS, 1, column_sums_task, &job);
    }
    if (x.rows == 0) {
        if (!is_added)
            linear_zero(compute, d_weight);
        return;
    }
    gemm(compute->pool, 1.0f, (struct gemm_factor){dy, true}, (struct gemm_factor){x, false},
         is_added ? 1.0f : 0.0f, d_weight, compute->gemm_workspace);
}

static void zero_task(void *context, unsigned thread_index, size_t begin, size_t end)
{
    (void)thread_index;
    memset((float *)context + begin, 0, (end - begin) * sizeof(float));
}

void linear_zero(const struct compute *compute, struct matrix values)
{
    OPERATION(compute, "zero", 0);
    pool_run(compute->pool, values.rows * values.columns, COMPUTE_GRAIN_FLOATS, zero_task,
             matrix_floats(values));
}
