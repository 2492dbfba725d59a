#include "engines/native/adamw.h"

#include <math.h>

#include "engines/native/clones.h"
#include "engines/native/elementary.h"
#include "spec/cell.h"

/* Borrowed for the loop. */
struct adamw_job {
    float *params;
    const float *gradients;
    float *moment1;
    float *moment2;
    float beta1;
    float beta2;
    float one_less_beta1;
    float one_less_beta2;
    float decay;        /* 1 - lr * weight_decay */
    float step_size;    /* lr / (1 - beta1^t) */
    float root_inverse; /* 1 / sqrt(1 - beta2^t) */
    float eps;
};

/* Borrowed for the loop. */
struct squares_job {
    const float *gradients;
    double sums[POOL_THREADS_MAX]; /* of squares, per thread */
};

struct adamw adamw_default(void)
{
    return (struct adamw){
        .lr = CELL_LEARNING_RATE, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .weight_decay = 0.01};
}

static CLONES void step_task(void *context, unsigned thread_index, size_t begin, size_t end)
{
    (void)thread_index;
    const struct adamw_job job = *(const struct adamw_job *)context;
    INDEPENDENT
    for (size_t i = begin; i < end; i++) {
        float g = job.gradients[i];
        float m = job.beta1 * job.moment1[i] + job.one_less_beta1 * g;
        float v = job.beta2 * job.moment2[i] + job.one_less_beta2 * g * g;
        float denominator = sqrtf(v) * job.root_inverse + job.eps;
        job.moment1[i] = m;
        job.moment2[i] = v;
        job.params[i] = job.decay * job.params[i] - job.step_size * m / denominator;
    }
}

void adamw_step(const struct compute *compute, const struct adamw *adamw, uint64_t step,
                struct matrix params, struct matrix gradients, struct matrix moment1,
                struct matrix moment2)
{
    size_t count = params.columns;
    ASSERT(params.rows == 1 && matrix_is_shaped(gradients, 1, count) &&
           matrix_is_shaped(moment1, 1, count) && matrix_is_shaped(moment2, 1, count));
    struct adamw_job job = {
        .params = matrix_floats(params),
        .gradients = matrix_floats(gradients),
        .moment1 = matrix_floats(moment1),
        .moment2 = matrix_floats(moment2),
        .beta1 = (float)adamw->beta1,
        .beta2 = (float)adamw->beta2,
        .one_less_beta1 = (float)(1.0 - adamw->beta1),
        .one_less_beta2 = (float)(1.0 - adamw->beta2),
        .decay = (float)(1.0 - adamw->lr * adamw->weight_decay),
        .step_size = (float)(adamw->lr / (1.0 - pow(adamw->beta1, (double)step))),
        .root_inverse = (float)(1.0 / sqrt(1.0 - pow(adamw->beta2, (double)step))),
        .eps = (float)adamw->eps,
    };
    OPERATION(compute, "optimizer", 0);
    pool_run(compute->pool, count, COMPUTE_GRAIN_FLOATS, step_task, &job);
}

static CLONES void squares_task(void *context, unsigned thread_index, size_t begin, size_t end)
{
    struct squares_job *job = context;
    job->sums[thread_index] = squares_f32(job->gradients + begin, end - begin);
}

double adamw_gradient_norm(const struct compute *compute, struct matrix gradients)
{
    struct squares_job job = {.gradients = matrix_floats(gradients)};
    ASSERT(gradients.rows == 1);
    pool_run(compute->pool, gradients.columns, COMPUTE_GRAIN_FLOATS, squares_task, &job);
    double sum = 0;
    for (unsigned i = 0; i < pool_threads_count(compute->pool); i++)
        sum += job.sums[i];
    return sqrt(sum);
}
