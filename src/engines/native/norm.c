#include "engines/native/norm.h"

#include <math.h>
#include <string.h>

#include "engines/native/clones.h"
#include "engines/native/elementary.h"

#define NORM_COLUMNS 128

/* All borrowed for the loop. */
struct norm_job {
    size_t dim;
    double eps;
    const float *weight;
    const float *bias; /* NULL for RMSNorm */
    size_t rows;
    const float *x;
    const float *dy;
    float *y;
    float *rstd;
    float *mean;
    float *d_x;
    float *d_weight;
    float *d_bias;
};

ALWAYS_INLINE void normalise(const struct norm_job *job, const float *x, float mean, float rstd,
                             float *y)
{
    const float *weight = job->weight;
    if (job->bias == NULL) {
        INDEPENDENT
        for (size_t i = 0; i < job->dim; i++)
            y[i] = x[i] * rstd * weight[i];
    } else {
        INDEPENDENT
        for (size_t i = 0; i < job->dim; i++)
            y[i] = (x[i] - mean) * rstd * weight[i] + job->bias[i];
    }
}

static CLONES void forward_task(void *context, unsigned thread_index, size_t begin, size_t end)
{
    (void)thread_index;
    const struct norm_job *job = context;
    double count = (double)job->dim;
    for (size_t row = begin; row < end; row++) {
        const float *x = job->x + row * job->dim;
        float *y = job->y + row * job->dim;
        double mean = 0;
        double square = 0;
        if (job->bias == NULL) {
            square = squares_f32(x, job->dim) / count;
        } else {
            mean = sum_f32(x, job->dim) / count;
            /* y holds x - mean for a moment: the variance's two passes, without cancellation. */
            for (size_t i = 0; i < job->dim; i++)
                y[i] = x[i] - (float)mean;
            square = squares_f32(y, job->dim) / count;
        }
        float rstd = (float)(1.0 / sqrt(square + job->eps));
        normalise(job, x, (float)mean, rstd, y);
        if (job->rstd != NULL)
            job->rstd[row] = rstd;
        if (job->mean != NULL)
            job->mean[row] = (float)mean;
    }
}

static struct norm_job job_make(const struct norm *norm, struct matrix x, struct matrix rstd,
                                struct matrix mean)
{
    size_t dim = norm->weight.columns;
    ASSERT(x.columns == dim && norm->weight.rows == 1);
    ASSERT(matrix_is_none(norm->bias) || matrix_is_shaped(norm->bias, 1, dim));
    ASSERT(matrix_is_none(rstd) || matrix_is_shaped(rstd, 1, x.rows));
    ASSERT(matrix_is_none(mean) || matrix_is_shaped(mean, 1, x.rows));
    return (struct norm_job){.dim = dim,
                             .eps = norm->eps,
                             .weight = matrix_floats(norm->weight),
                             .bias = matrix_floats(norm->bias),
                             .rows = x.rows,
                             .x = matrix_floats(x),
                             .rstd = matrix_floats(rstd),
                             .mean = matrix_floats(mean)};
}

void norm_forward(const struct compute *compute, const struct norm *norm, struct matrix x,
                  struct matrix y, struct matrix rstd, struct matrix mean)
{
    struct norm_job job = job_make(norm, x, rstd, mean);
    ASSERT(matrix_is_shaped(y, x.rows, x.columns));
    job.y = matrix_floats(y);
    OPERATION(compute, "norm", 0);
    pool_run(compute->pool, job.rows, compute_row_grain(job.dim), forward_task, &job);
}

static CLONES void again_task(void *context, unsigned thread_index, size_t begin, size_t end)
{
    (void)thread_index;
    const struct norm_job *job = context;
    size_t dim = job->dim;
    for (size_t row = begin; row < end; row++)
        normalise(job, job->x + row * dim, job->mean == NULL ? 0.0f : job->mean[row],
                  job->rstd[row], job->y + row * dim);
}

void norm_again(const struct compute *compute, const struct norm *norm, struct matrix x,
                struct matrix rstd, struct matrix mean, struct matrix y)
{
    struct norm_job job = job_make(norm, x, rstd, mean);
    ASSERT(matrix_is_shaped(y, x.rows, x.columns));
    job.y = matrix_floats(y);
    OPERATION(compute, "norm", 0);
    pool_run(compute->pool, job.rows, compute_row_grain(job.dim), again_task, &job);
}

/* With g = w dy and z = (x - mean) rstd:
 *   d_x = rstd (g - z mean(g z) [- mean(g) for LayerNorm]) */
static CLONES void backward_input_task(void *context, unsigned thread_index, size_t begin,
                                       size_t end)
{
    (void)thread_index;
    const struct norm_job *job = context;
    const float *weight = job->weight;
    size_t dim = job->dim;
    for (size_t row = begin; row < end; row++) {
        const float *x = job->x + row * dim;
        const float *dy = job->dy + row * dim;
        float *d_x = job->d_x + row * dim;
        float rstd = job->rstd[row];
        float mean = job->mean == NULL ? 0.0f : job->mean[row];
        double sum_g = 0;
        double sum_gz = 0;
        for (size_t first = 0; first < dim; first += SUM_BLOCK) {
            size_t last = dim - first < SUM_BLOCK ? dim : first + SUM_BLOCK;
            f32x16 lanes_g = {0};
            f32x16 lanes_gz = {0};
            size_t i = first;
            for (; i + F32X16_LANES <= last; i += F32X16_LANES) {
                f32x16 g = *(const f32x16 *)(dy + i) * *(const f32x16 *)(weight + i);
                lanes_g += g;
                lanes_gz += g * (*(const f32x16 *)(x + i) - mean);
            }
            float part_g = lanes_sum(&lanes_g);
            float part_gz = lanes_sum(&lanes_gz);
            for (; i < last; i++) {
                part_g += dy[i] * weight[i];
                part_gz += dy[i] * weight[i] * (x[i] - mean);
            }
            sum_g += (double)part_g;
            sum_gz += (double)part_gz;
        }
        float mean_gz = (float)(sum_gz * (double)rstd / (double)dim);
        float mean_g = job->bias == NULL ? 0.0f : (float)(sum_g / (double)dim);
        INDEPENDENT
        for (size_t i = 0; i < dim; i++)
            d_x[i] += rstd * (dy[i] * weight[i] - mean_g - (x[i] - mean) * rstd * mean_gz);
    }
}

/* Items are blocks of columns: every sum is one thread's, in the order of the rows. */
static CLONES void backward_weight_task(void *context, unsigned thread_index, size_t begin,
                                        size_t end)
{
    (void)thread_index;
    const struct norm_job *job = context;
    size_t dim = job->dim;
    for (size_t block = begin; block < end; block++) {
        size_t first = block * NORM_COLUMNS;
        size_t count = dim - first < NORM_COLUMNS ? dim - first : NORM_COLUMNS;
        float weight_sums[NORM_COLUMNS] = {0};
        float bias_sums[NORM_COLUMNS] = {0};
        for (size_t row = 0; row < job->rows; row++) {
            const float *x = job->x + row * dim + first;
            const float *dy = job->dy + row * dim + first;
            float rstd = job->rstd[row];
            float mean = job->mean == NULL ? 0.0f : job->mean[row];
            for (size_t i = 0; i < count; i++) {
                weight_sums[i] += dy[i] * ((x[i] - mean) * rstd);
                bias_sums[i] += dy[i];
            }
        }
        memcpy(job->d_weight + first, weight_sums, count * sizeof(float));
        if (job->d_bias != NULL)
            memcpy(job->d_bias + first, bias_sums, count * sizeof(float));
    }
}

void norm_backward(const struct compute *compute, const struct norm *norm, struct matrix x,
                   struct matrix rstd, struct matrix mean, struct matrix dy, struct matrix d_x,
                   struct matrix d_weight, struct matrix d_bias)
{
    struct norm_job job = job_make(norm, x, rstd, mean);
    ASSERT(matrix_is_shaped(dy, x.rows, x.columns) && matrix_is_shaped(d_x, x.rows, x.columns));
    job.dy = matrix_floats(dy);
    job.d_x = matrix_floats(d_x);
    job.d_weight = matrix_floats(d_weight);
    job.d_bias = matrix_floats(d_bias);
    OPERATION(compute, "norm backward", 0);
    pool_run(compute->pool, job.rows, compute_row_grain(job.dim), backward_input_task, &job);
    pool_run(compute->pool, (job.dim + NORM_COLUMNS - 1) / NORM_COLUMNS, 1, backward_weight_task,
             &job);
}
