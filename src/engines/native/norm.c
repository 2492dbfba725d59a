#include "engines/native/norm.h"

#include <math.h>
#include <string.h>

#include "engines/native/clones.h"
#include "engines/native/elementary.h"

#define NORM_COLUMNS 128

struct norm_job {
    const struct norm *norm;
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

ALWAYS_INLINE void normalise(const struct norm *norm, const float *x, float mean, float rstd,
                             float *y)
{
    const float *weight = norm->weight;
    if (norm->bias == NULL) {
        INDEPENDENT
        for (size_t i = 0; i < norm->dim; i++)
            y[i] = x[i] * rstd * weight[i];
    } else {
        INDEPENDENT
        for (size_t i = 0; i < norm->dim; i++)
            y[i] = (x[i] - mean) * rstd * weight[i] + norm->bias[i];
    }
}

static CLONES void forward_task(void *context, unsigned thread_index, size_t begin, size_t end)
{
    (void)thread_index;
    const struct norm_job *job = context;
    const struct norm *norm = job->norm;
    double count = (double)norm->dim;
    for (size_t row = begin; row < end; row++) {
        const float *x = job->x + row * norm->dim;
        float *y = job->y + row * norm->dim;
        double mean = 0;
        double square = 0;
        if (norm->bias == NULL) {
            square = squares_f32(x, norm->dim) / count;
        } else {
            mean = sum_f32(x, norm->dim) / count;
            /* y holds x - mean for a moment: the variance's two passes, without cancellation. */
            for (size_t i = 0; i < norm->dim; i++)
                y[i] = x[i] - (float)mean;
            square = squares_f32(y, norm->dim) / count;
        }
        float rstd = (float)(1.0 / sqrt(square + norm->eps));
        normalise(norm, x, (float)mean, rstd, y);
        if (job->rstd != NULL)
            job->rstd[row] = rstd;
        if (job->mean != NULL)
            job->mean[row] = (float)mean;
    }
}

void norm_forward(const struct compute *compute, const struct norm *norm, size_t rows,
                  const float *x, float *y, float *rstd, float *mean)
{
    struct norm_job job = {.norm = norm, .x = x, .y = y, .rstd = rstd, .mean = mean};
    pool_run(compute->pool, rows, compute_row_grain(norm->dim), forward_task, &job);
}

static CLONES void again_task(void *context, unsigned thread_index, size_t begin, size_t end)
{
    (void)thread_index;
    const struct norm_job *job = context;
    size_t dim = job->norm->dim;
    for (size_t row = begin; row < end; row++)
        normalise(job->norm, job->x + row * dim, job->mean == NULL ? 0.0f : job->mean[row],
                  job->rstd[row], job->y + row * dim);
}

void norm_again(const struct compute *compute, const struct norm *norm, size_t rows, const float *x,
                const float *rstd, const float *mean, float *y)
{
    struct norm_job job = {
        .norm = norm, .x = x, .y = y, .rstd = (float *)rstd, .mean = (float *)mean};
    pool_run(compute->pool, rows, compute_row_grain(norm->dim), again_task, &job);
}

/* With g = w dy and z = (x - mean) rstd:
 *   d_x = rstd (g - z mean(g z) [- mean(g) for LayerNorm]) */
static CLONES void backward_input_task(void *context, unsigned thread_index, size_t begin,
                                       size_t end)
{
    (void)thread_index;
    const struct norm_job *job = context;
    const struct norm *norm = job->norm;
    const float *weight = norm->weight;
    size_t dim = norm->dim;
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
        float mean_g = norm->bias == NULL ? 0.0f : (float)(sum_g / (double)dim);
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
    size_t dim = job->norm->dim;
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

void norm_backward(const struct compute *compute, const struct norm *norm, size_t rows,
                   const float *x, const float *rstd, const float *mean, const float *dy,
                   float *d_x, float *d_weight, float *d_bias)
{
    struct norm_job job = {.norm = norm,
                           .rows = rows,
                           .x = x,
                           .dy = dy,
                           .rstd = (float *)rstd,
                           .mean = (float *)mean,
                           .d_x = d_x,
                           .d_weight = d_weight,
                           .d_bias = d_bias};
    pool_run(compute->pool, rows, compute_row_grain(norm->dim), backward_input_task, &job);
    pool_run(compute->pool, (norm->dim + NORM_COLUMNS - 1) / NORM_COLUMNS, 1, backward_weight_task,
             &job);
}
