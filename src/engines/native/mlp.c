#include "engines/native/mlp.h"

#include "engines/native/clones.h"
#include "engines/native/elementary.h"

#define GELU_SCALE 0.7978845608028654f /* sqrt(2 / pi) */
#define GELU_CUBIC 0.044715f

/* All borrowed for the loop. */
struct gelu_job {
    const float *hidden;
    float *act;
    float *d_hidden;
};

static CLONES void gelu_task(void *context, unsigned thread_index, size_t begin, size_t end)
{
    (void)thread_index;
    const struct gelu_job *job = context;
    const float *hidden = job->hidden;
    float *act = job->act;
    INDEPENDENT
    for (size_t i = begin; i < end; i++) {
        float x = hidden[i];
        float t = tanh_f32(GELU_SCALE * (x + GELU_CUBIC * x * x * x));
        act[i] = 0.5f * x * (1.0f + t);
    }
}

void mlp_gelu(const struct compute *compute, struct matrix hidden, struct matrix act)
{
    struct gelu_job job = {.hidden = matrix_floats(hidden), .act = matrix_floats(act)};
    ASSERT(matrix_is_shaped(act, hidden.rows, hidden.columns));
    OPERATION(compute, "gelu", 0);
    pool_run(compute->pool, hidden.rows * hidden.columns, COMPUTE_GRAIN_FLOATS / 4, gelu_task,
             &job);
}

static CLONES void gelu_backward_task(void *context, unsigned thread_index, size_t begin,
                                      size_t end)
{
    (void)thread_index;
    const struct gelu_job *job = context;
    float *d_hidden = job->d_hidden;
    float *act = job->act;
    INDEPENDENT
    for (size_t i = begin; i < end; i++) {
        float x = d_hidden[i];
        float t = tanh_f32(GELU_SCALE * (x + GELU_CUBIC * x * x * x));
        float inner = GELU_SCALE * (1.0f + 3.0f * GELU_CUBIC * x * x);
        float slope = 0.5f * (1.0f + t) + 0.5f * x * (1.0f - t * t) * inner;
        d_hidden[i] = act[i] * slope;
        act[i] = 0.5f * x * (1.0f + t);
    }
}

void mlp_gelu_backward(const struct compute *compute, struct matrix hidden, struct matrix d_act)
{
    struct gelu_job job = {.d_hidden = matrix_floats(hidden), .act = matrix_floats(d_act)};
    ASSERT(matrix_is_shaped(d_act, hidden.rows, hidden.columns));
    OPERATION(compute, "gelu backward", 0);
    pool_run(compute->pool, hidden.rows * hidden.columns, COMPUTE_GRAIN_FLOATS / 4,
             gelu_backward_task, &job);
}
