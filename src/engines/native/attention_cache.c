/* Attention of single rows over a cache of keys and values. */
#include <math.h>
#include <string.h>

#include "engines/native/attention.h"
#include "engines/native/buffers.h"
#include "engines/native/clones.h"
#include "engines/native/elementary.h"

/* All borrowed for the loop. */
struct cache_job {
    const struct compute *compute;
    const struct attention_cache *cache;
    float *keys;
    float *values;
    const uint32_t *batch_of;
    const uint32_t *positions;
    const float *qkv;
    float *att;
};

static size_t cache_at(const struct attention_cache *cache, size_t batch, size_t head)
{
    return (batch * cache->H + head) * cache->T * cache->D;
}

static void put_task(void *context, unsigned thread_index, size_t begin, size_t end)
{
    (void)thread_index;
    const struct cache_job *job = context;
    const struct attention_cache *c = job->cache;
    size_t dim = c->H * c->D;
    for (size_t row = begin; row < end; row++) {
        for (size_t head = 0; head < c->H; head++) {
            size_t at = cache_at(c, job->batch_of[row], head) + job->positions[row] * c->D;
            const float *k = job->qkv + row * 3 * dim + dim + head * c->D;
            memcpy(job->keys + at, k, c->D * sizeof(float));
            memcpy(job->values + at, k + dim, c->D * sizeof(float));
        }
    }
}

static struct cache_job job_make(const struct compute *compute, const struct attention_cache *cache,
                                 const uint32_t *batch_of, const uint32_t *positions,
                                 struct matrix qkv)
{
    ASSERT(qkv.columns == 3 * cache->H * cache->D);
    ASSERT(matrix_is_shaped(cache->keys, cache->B * cache->H * cache->T, cache->D));
    ASSERT(matrix_is_shaped(cache->values, cache->keys.rows, cache->D));
    return (struct cache_job){.compute = compute,
                              .cache = cache,
                              .keys = matrix_floats(cache->keys),
                              .values = matrix_floats(cache->values),
                              .batch_of = batch_of,
                              .positions = positions,
                              .qkv = matrix_floats(qkv)};
}

void attention_cache_put(const struct compute *compute, const struct attention_cache *cache,
                         const uint32_t *batch_of, const uint32_t *positions, struct matrix qkv)
{
    struct cache_job job = job_make(compute, cache, batch_of, positions, qkv);
    OPERATION(compute, "cache write", 0);
    pool_run(compute->pool, qkv.rows, compute_row_grain(cache->H * cache->D), put_task, &job);
}

/* att (D) = sum over positions of weights[position] * values[position] */
ALWAYS_INLINE void weigh_values(const float *weights, const float *values, size_t positions_count,
                                size_t D, float *att)
{
    memset(att, 0, D * sizeof(float));
    size_t position = 0;
    for (; position + 4 <= positions_count; position += 4) {
        const float *v = values + position * D;
        const float *w = weights + position;
        for (size_t i = 0; i < D; i++)
            att[i] += (w[0] * v[i] + w[1] * v[D + i]) + (w[2] * v[2 * D + i] + w[3] * v[3 * D + i]);
    }
    for (; position < positions_count; position++)
        for (size_t i = 0; i < D; i++)
            att[i] += weights[position] * values[position * D + i];
}

static CLONES void read_task(void *context, unsigned thread_index, size_t begin, size_t end)
{
    const struct cache_job *job = context;
    const struct attention_cache *c = job->cache;
    size_t dim = c->H * c->D;
    float scale = (float)(1.0 / sqrt((double)c->D));
    float *scores = (float *)(void *)(job->compute->thread_workspace +
                                      thread_index * job->compute->thread_workspace_bytes +
                                      buffers_scores_offset());
    for (size_t item = begin; item < end; item++) {
        size_t row = item / c->H;
        size_t head = item % c->H;
        size_t seen = (size_t)job->positions[row] + 1;
        const float *q = job->qkv + row * 3 * dim + head * c->D;
        const float *keys = job->keys + cache_at(c, job->batch_of[row], head);
        const float *values = job->values + cache_at(c, job->batch_of[row], head);
        for (size_t position = 0; position < seen; position++)
            scores[position] = scale * dot_f32(q, keys + position * c->D, c->D);
        double sum = exp_row_f32(scores, seen, max_f32(scores, seen));
        float *att = job->att + row * dim + head * c->D;
        weigh_values(scores, values, seen, c->D, att);
        float inverse = (float)(1.0 / sum);
        for (size_t i = 0; i < c->D; i++)
            att[i] *= inverse;
    }
}

/* Two matmuls of one row with what the cache holds before it, and it. */
static double cached_flops(const struct attention_cache *cache, const uint32_t *positions,
                           size_t rows)
{
    double seen = 0;
    for (size_t row = 0; row < rows; row++)
        seen += (double)positions[row] + 1;
    return 4.0 * seen * (double)(cache->H * cache->D);
}

void attention_cache_read(const struct compute *compute, const struct attention_cache *cache,
                          const uint32_t *batch_of, const uint32_t *positions, struct matrix qkv,
                          struct matrix att)
{
    struct cache_job job = job_make(compute, cache, batch_of, positions, qkv);
    ASSERT(matrix_is_shaped(att, qkv.rows, cache->H * cache->D));
    job.att = matrix_floats(att);
    OPERATION(compute, "attention cached", cached_flops(cache, positions, qkv.rows));
    pool_run(compute->pool, qkv.rows * cache->H, 1, read_task, &job);
}
