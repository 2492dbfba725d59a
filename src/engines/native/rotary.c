#include "engines/native/rotary.h"

#include <math.h>

#include "engines/native/clones.h"

void rotary_table(double base, struct matrix cosines, struct matrix sines)
{
    size_t half = cosines.columns;
    float *cosine = matrix_floats(cosines);
    float *sine = matrix_floats(sines);
    ASSERT(matrix_is_shaped(sines, cosines.rows, half));
    for (size_t i = 0; i < half; i++) {
        double frequency = pow(base, -2.0 * (double)i / (double)(2 * half));
        for (size_t position = 0; position < cosines.rows; position++) {
            double angle = (double)position * frequency;
            cosine[position * half + i] = (float)cos(angle);
            sine[position * half + i] = (float)sin(angle);
        }
    }
}

/* All borrowed for the loop. */
struct rotary_job {
    const struct rotary *rotary;
    const float *cosines;
    const float *sines;
    float *qkv;
    float sign;
};

static CLONES void rotary_task(void *context, unsigned thread_index, size_t begin, size_t end)
{
    (void)thread_index;
    const struct rotary_job *job = context;
    const struct rotary *r = job->rotary;
    size_t half = r->rotary_dim / 2;
    float sign = job->sign;
    for (size_t row = begin; row < end; row++) {
        const float *cosines = job->cosines + r->positions[row] * half;
        const float *sines = job->sines + r->positions[row] * half;
        float *heads = job->qkv + row * 3 * r->heads_count * r->head_dim;
        /* q's heads, and k's right behind them */
        for (size_t head = 0; head < 2 * r->heads_count; head++) {
            float *low = heads + head * r->head_dim;
            float *high = low + half;
            INDEPENDENT
            for (size_t i = 0; i < half; i++) {
                float sine = sign * sines[i];
                float a = low[i];
                float b = high[i];
                low[i] = a * cosines[i] - b * sine;
                high[i] = b * cosines[i] + a * sine;
            }
        }
    }
}

void rotary_apply(const struct compute *compute, const struct rotary *rotary, struct matrix qkv,
                  bool is_inverse)
{
    size_t dim = rotary->heads_count * rotary->head_dim;
    ASSERT(qkv.columns == 3 * dim);
    if (rotary->rotary_dim == 0)
        return;
    struct rotary_job job = {.rotary = rotary,
                             .cosines = matrix_floats(rotary->cosines),
                             .sines = matrix_floats(rotary->sines),
                             .qkv = matrix_floats(qkv),
                             .sign = is_inverse ? -1.0f : 1.0f};
    OPERATION(compute, is_inverse ? "rotary backward" : "rotary", 0);
    pool_run(compute->pool, qkv.rows, compute_row_grain(dim), rotary_task, &job);
}
