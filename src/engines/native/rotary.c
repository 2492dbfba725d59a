#include "engines/native/rotary.h"

#include <math.h>

#include "engines/native/clones.h"

void rotary_table(size_t positions_count, size_t rotary_dim, double base, float *ret_cosines,
                  float *ret_sines)
{
    size_t half = rotary_dim / 2;
    for (size_t i = 0; i < half; i++) {
        double frequency = pow(base, -2.0 * (double)i / (double)rotary_dim);
        for (size_t position = 0; position < positions_count; position++) {
            double angle = (double)position * frequency;
            ret_cosines[position * half + i] = (float)cos(angle);
            ret_sines[position * half + i] = (float)sin(angle);
        }
    }
}

struct rotary_job {
    const struct rotary *rotary;
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
        const float *cosines = r->cosines + r->positions[row] * half;
        const float *sines = r->sines + r->positions[row] * half;
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

void rotary_apply(const struct compute *compute, const struct rotary *rotary, size_t rows,
                  float *qkv, bool is_inverse)
{
    if (rotary->rotary_dim == 0)
        return;
    struct rotary_job job = {.rotary = rotary, .qkv = qkv, .sign = is_inverse ? -1.0f : 1.0f};
    pool_run(compute->pool, rows, compute_row_grain(rotary->heads_count * rotary->head_dim),
             rotary_task, &job);
}
