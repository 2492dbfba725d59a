#include "engines/native/ceiling.h"

#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "base/clock.h"
#include "base/sysmem.h"
#include "engines/native/arena.h"
#include "engines/native/gemm.h"

#define LOOK_NS      (600 * NS_PER_MS)
#define FMA_LOOPS    400000UL
#define ARRAY_MIN    ((size_t)64 << 20)
#define ARRAY_MAX    ((size_t)1 << 30)
#define CACHES       4 /* an array is so many times the last cache, as STREAM asks */
#define MEMORY_SHARE 8 /* of what is free, at most one part an array */
#define ALIGNMENT    ((size_t)4096)
#define SIDE_MAX     ((size_t)2048)

/* --- multiply-adds --- */

#if defined(__x86_64__)
#define CHAINS_512 24
#define CHAINS_256 12

__attribute__((target("avx512f"))) static float chains_avx512(unsigned long loops)
{
    __m512 sums[CHAINS_512];
#pragma GCC unroll 24
    for (int i = 0; i < CHAINS_512; i++)
        sums[i] = _mm512_set1_ps((float)i);
    __m512 factor = _mm512_set1_ps(0.5f);
    for (unsigned long loop = 0; loop < loops; loop++) {
#pragma GCC unroll 24
        for (int i = 0; i < CHAINS_512; i++) {
            sums[i] = _mm512_fmadd_ps(sums[i], factor, factor);
            __asm__ volatile("" : "+v"(sums[i]));
        }
    }
    return _mm512_cvtss_f32(sums[0]);
}

__attribute__((target("avx2,fma"))) static float chains_avx2(unsigned long loops)
{
    __m256 sums[CHAINS_256];
#pragma GCC unroll 12
    for (int i = 0; i < CHAINS_256; i++)
        sums[i] = _mm256_set1_ps((float)i);
    __m256 factor = _mm256_set1_ps(0.5f);
    for (unsigned long loop = 0; loop < loops; loop++) {
#pragma GCC unroll 12
        for (int i = 0; i < CHAINS_256; i++) {
            sums[i] = _mm256_fmadd_ps(sums[i], factor, factor);
            __asm__ volatile("" : "+x"(sums[i]));
        }
    }
    return _mm256_cvtss_f32(sums[0]);
}
#endif

#define CHAINS_PLAIN 8

static float chains_plain(unsigned long loops)
{
    float sums[CHAINS_PLAIN] = {0, 1, 2, 3, 4, 5, 6, 7};
    for (unsigned long loop = 0; loop < loops; loop++)
        for (int i = 0; i < CHAINS_PLAIN; i++) {
            sums[i] = sums[i] * 0.5f + 0.5f;
            __asm__ volatile("" : "+m"(sums[i]));
        }
    return sums[0];
}

/* FLOP; `sink` gets a result, so that nothing is left out. */
static double run_chains(unsigned long loops, float *sink)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f")) {
        *sink = chains_avx512(loops);
        return 2.0 * 16 * CHAINS_512 * (double)loops;
    }
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        *sink = chains_avx2(loops);
        return 2.0 * 8 * CHAINS_256 * (double)loops;
    }
#endif
    *sink = chains_plain(loops);
    return 2.0 * CHAINS_PLAIN * (double)loops;
}

static void fma_task(void *context, unsigned thread_index, size_t begin, size_t end)
{
    float *sinks = context;
    for (size_t i = begin; i < end; i++)
        (void)run_chains(FMA_LOOPS, &sinks[thread_index]);
}

/* --- memory: pages as the engine's own, an arena's: small ones cost a fifth of the rate --- */

/* Memory is gone through in pieces of so many floats: a cache line, and the widest vector. */
#define PIECE 16

/* Borrowed. */
struct arrays {
    float *a, *b, *c;
    float *sums; /* one a thread */
};

static void fill_task(void *context, unsigned thread_index, size_t begin, size_t end)
{
    (void)thread_index;
    const struct arrays *arrays = context;
    for (size_t i = begin * PIECE; i < end * PIECE; i++) {
        arrays->a[i] = 0;
        arrays->b[i] = 1;
        arrays->c[i] = 2;
    }
}

/* The fewer instructions a line, the more lines are under way at a time: wide loads where there are
 * any. Each gives a sum, so that nothing is left out. */
#if defined(__x86_64__)
__attribute__((target("avx512f"))) static float read_avx512(const float *from, size_t pieces)
{
    __m512 even = _mm512_setzero_ps();
    __m512 odd = _mm512_setzero_ps();
    for (size_t i = 0; i + 2 <= pieces; i += 2) {
        even = _mm512_add_ps(even, _mm512_load_ps(from + i * PIECE));
        odd = _mm512_add_ps(odd, _mm512_load_ps(from + (i + 1) * PIECE));
    }
    if (pieces % 2 != 0)
        odd = _mm512_add_ps(odd, _mm512_load_ps(from + (pieces - 1) * PIECE));
    return _mm512_reduce_add_ps(_mm512_add_ps(even, odd));
}

__attribute__((target("avx2"))) static float read_avx2(const float *from, size_t pieces)
{
    __m256 low = _mm256_setzero_ps();
    __m256 high = _mm256_setzero_ps();
    for (size_t i = 0; i < pieces; i++) {
        low = _mm256_add_ps(low, _mm256_load_ps(from + i * PIECE));
        high = _mm256_add_ps(high, _mm256_load_ps(from + i * PIECE + PIECE / 2));
    }
    float sums[PIECE / 2];
    _mm256_storeu_ps(sums, _mm256_add_ps(low, high));
    for (size_t k = 1; k < PIECE / 2; k++)
        sums[0] += sums[k];
    return sums[0];
}
#endif

static float read_plain(const float *from, size_t pieces)
{
    float sums[PIECE] = {0};
    for (size_t i = 0; i < pieces; i++)
        for (size_t k = 0; k < PIECE; k++)
            sums[k] += from[i * PIECE + k];
    for (size_t k = 1; k < PIECE; k++)
        sums[0] += sums[k];
    return sums[0];
}

static float read_all(const float *from, size_t pieces)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f"))
        return read_avx512(from, pieces);
    if (__builtin_cpu_supports("avx2"))
        return read_avx2(from, pieces);
#endif
    return read_plain(from, pieces);
}

static void read_task(void *context, unsigned thread_index, size_t begin, size_t end)
{
    const struct arrays *arrays = context;
    arrays->sums[thread_index] = read_all(arrays->b + begin * PIECE, end - begin);
}

/* Stores that pass the caches: plain ones would read each line first. */
static inline void store(float *to, float value)
{
#if defined(__x86_64__)
    __m128 wide = _mm_set1_ps(value);
    for (size_t k = 0; k < PIECE; k += 4)
        _mm_stream_ps(to + k, wide);
#else
    for (size_t k = 0; k < PIECE; k++)
        to[k] = value;
#endif
}

static void write_task(void *context, unsigned thread_index, size_t begin, size_t end)
{
    (void)thread_index;
    const struct arrays *arrays = context;
    for (size_t i = begin; i < end; i++)
        store(arrays->a + i * PIECE, 3);
}

/* A line's stores follow one another: loads between them would let a neighbouring thread's stores
 * close the line before it is full. */
static inline void triad_piece(float *a, const float *b, const float *c)
{
#if defined(__x86_64__)
    __m128 factor = _mm_set1_ps(3);
    __m128 line[PIECE / 4];
    for (size_t k = 0; k < PIECE / 4; k++)
        line[k] = _mm_add_ps(_mm_load_ps(b + 4 * k), _mm_mul_ps(factor, _mm_load_ps(c + 4 * k)));
    for (size_t k = 0; k < PIECE / 4; k++)
        _mm_stream_ps(a + 4 * k, line[k]);
#else
    for (size_t k = 0; k < PIECE; k++)
        a[k] = b[k] + 3 * c[k];
#endif
}

static void triad_task(void *context, unsigned thread_index, size_t begin, size_t end)
{
    (void)thread_index;
    const struct arrays *arrays = context;
    for (size_t i = begin; i < end; i++)
        triad_piece(arrays->a + i * PIECE, arrays->b + i * PIECE, arrays->c + i * PIECE);
}

static void empty_task(void *context, unsigned thread_index, size_t begin, size_t end)
{
    (void)context;
    (void)thread_index;
    (void)begin;
    (void)end;
}

/* --- looks --- */

/* Borrowed. */
struct looks {
    struct pool *pool;
    const struct ceiling_effort *effort;
};

/* One call of `once`, again and again: the shortest. */
static double shortest_ns(struct looks looks, void (*once)(struct pool *pool, const void *work),
                          const void *work)
{
    uint64_t begin_ns = looks.effort->now_ns();
    uint64_t best_ns = UINT64_MAX;
    for (uint64_t now_ns = begin_ns; now_ns - begin_ns < looks.effort->look_ns;) {
        uint64_t before_ns = now_ns;
        once(looks.pool, work);
        now_ns = looks.effort->now_ns();
        if (now_ns - before_ns < best_ns)
            best_ns = now_ns - before_ns;
    }
    return (double)(best_ns > 0 ? best_ns : 1);
}

/* Borrowed. */
struct pool_loop {
    size_t items_count;
    pool_task *task;
    void *context;
};

static void run_loop(struct pool *pool, const void *work)
{
    const struct pool_loop *loop = work;
    pool_run(pool, loop->items_count, 1, loop->task, loop->context);
}

static double loop_ns(struct looks looks, size_t items_count, pool_task *task, void *context)
{
    struct pool_loop loop = {items_count, task, context};
    return shortest_ns(looks, run_loop, &loop);
}

static double fma_rate(struct looks looks, float *sinks)
{
    size_t threads = pool_threads_count(looks.pool);
    float unused = 0;
    double flops = run_chains(1, &unused) * FMA_LOOPS * (double)threads;
    return flops * 1e9 / loop_ns(looks, threads, fma_task, sinks);
}

static enum status measure_memory(struct looks looks, float *sums, struct ceiling *ceiling,
                                  struct err *err)
{
    size_t bytes = looks.effort->array_bytes;
    struct arena arena = {0};
    TRY(arena_open(3 * (uint64_t)bytes, &arena, err));
    size_t floats = bytes / sizeof(float);
    float *memory = (float *)(void *)arena.data;
    struct arrays arrays = {memory, memory + floats, memory + 2 * floats, sums};
    size_t pieces = floats / PIECE;
    /* Each thread's part is near it from now on. */
    pool_run(looks.pool, pieces, 1, fill_task, &arrays);
    ceiling->read_bytes = (double)bytes * 1e9 / loop_ns(looks, pieces, read_task, &arrays);
    ceiling->write_bytes = (double)bytes * 1e9 / loop_ns(looks, pieces, write_task, &arrays);
    ceiling->triad_bytes = 3.0 * (double)bytes * 1e9 / loop_ns(looks, pieces, triad_task, &arrays);
    arena_close(&arena);
    return STATUS_OK;
}

/* c = a b */
struct product {
    struct gemm_factor a, b;
    struct matrix c;
    void *workspace; /* borrowed */
};

static void run_product(struct pool *pool, const void *work)
{
    const struct product *product = work;
    gemm(pool, 1, product->a, product->b, 0, product->c, product->workspace);
}

/* Of squares with such sides, FLOP/s. */
static double matmul_rate(struct looks looks, float *memory, size_t side, void *workspace)
{
    size_t count = side * side;
    struct product product = {
        .a = {matrix_make(memory, MATRIX_F32, side, side), false},
        .b = {matrix_make(memory + count, MATRIX_F32, side, side), false},
        .c = matrix_make(memory + 2 * count, MATRIX_F32, side, side),
        .workspace = workspace,
    };
    return 2.0 * (double)count * (double)side * 1e9 / shortest_ns(looks, run_product, &product);
}

static enum status measure_matmul(struct looks looks, struct ceiling *ceiling, struct err *err)
{
    size_t side_max = looks.effort->side_max;
    size_t count = 3 * side_max * side_max;
    struct arena arena = {0};
    TRY(arena_open(count * sizeof(float), &arena, err));
    float *memory = (float *)(void *)arena.data;
    void *workspace = aligned_alloc(GEMM_WORKSPACE_ALIGNMENT,
                                    gemm_workspace_bytes(pool_threads_count(looks.pool)));
    for (size_t i = 0; workspace != NULL && i < count; i++)
        memory[i] = (float)(i % 64) / 64;
    for (size_t side = side_max / 4; workspace != NULL && side <= side_max; side *= 2) {
        double rate = matmul_rate(looks, memory, side, workspace);
        if (rate > ceiling->matmul_flops)
            ceiling->matmul_flops = rate;
    }
    arena_close(&arena);
    if (workspace == NULL)
        return ERR(err, STATUS_NOMEM, "no memory for a matmul of %zu squared", side_max);
    free(workspace);
    return STATUS_OK;
}

struct ceiling_effort ceiling_effort(void)
{
    long cache = sysconf(_SC_LEVEL3_CACHE_SIZE);
    size_t bytes = CACHES * (size_t)(cache > 0 ? cache : 0);
    uint64_t room = sysmem_available_bytes() / MEMORY_SHARE;
    bytes = bytes < ARRAY_MIN ? ARRAY_MIN : bytes > ARRAY_MAX ? ARRAY_MAX : bytes;
    if (room > 0 && bytes > room)
        bytes = (size_t)room;
    return (struct ceiling_effort){LOOK_NS, bytes / ALIGNMENT * ALIGNMENT, SIDE_MAX, clock_now_ns};
}

enum status ceiling_measure(unsigned threads_count, const struct ceiling_effort *effort,
                            struct ceiling *ret_ceiling, struct err *err)
{
    struct ceiling ceiling = {0};
    struct pool *pool = NULL;
    enum status status = pool_new(threads_count, &pool, err);
    float *sinks = status == STATUS_OK ? calloc(threads_count, sizeof(*sinks)) : NULL;
    if (status == STATUS_OK && sinks == NULL)
        status = ERR(err, STATUS_NOMEM, "out of memory");
    if (status == STATUS_OK) {
        struct looks looks = {pool, effort};
        ceiling.fma_flops = fma_rate(looks, sinks);
        ceiling.launch_ns = loop_ns(looks, threads_count, empty_task, NULL);
        status = measure_matmul(looks, &ceiling, err);
        if (status == STATUS_OK)
            status = measure_memory(looks, sinks, &ceiling, err);
    }
    free(sinks);
    pool_free(pool);
    if (status == STATUS_OK)
        *ret_ceiling = ceiling;
    return status;
}
