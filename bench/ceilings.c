/* bench/ceilings.c - what `tokmark peak` says of the CPU, beside loops written for this file alone.
 *
 *   ceilings [THREADS]
 *
 * A multiply-add loop by the compiler's own vectors, and STREAM's read, write and triad (John D.
 * McCalpin, 1991) over arrays of 1 GiB, each the best of five times ten passes, in turn with ours;
 * then the ratio of ours to theirs. On a quiet machine all are within 5 % of 1.
 */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "engines/native/ceiling.h"

#define PASSES      10
#define ROUNDS      5 /* in turn: memory's rate wanders where other machines use it, too */
#define ARRAY_BYTES ((size_t)1 << 30)
#define LOOPS       20000000
#define CHAINS      12
#define THREADS_MAX 256
/* By name, one each: a loop over an array of them is not kept in registers. */
#define EACH(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11)
#if defined(__x86_64__)
#define CLONES __attribute__((target_clones("avx512f", "fma", "default")))
#else
#define CLONES
#endif

#if defined(__AVX512F__) || defined(__x86_64__)
#define WIDTH 16
#else
#define WIDTH 4
#endif

typedef float vector __attribute__((vector_size(WIDTH * sizeof(float))));

enum kind { KIND_FMA, KIND_READ, KIND_WRITE, KIND_TRIAD, KINDS_COUNT };

struct part {
    enum kind kind;
    float *a, *b, *c; /* borrowed */
    size_t count;     /* floats of each */
    float sink;
};

static double now(void)
{
    struct timespec time;
    (void)clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

/* Of vectors as wide as a register: chains of wider ones would not fit into the registers. */
#define MULTIPLY_ADD(name, width, target)                                       \
    static float target name(void)                                              \
    {                                                                           \
        typedef float wide __attribute__((vector_size(width * sizeof(float)))); \
        wide half = (wide){0} + 0.5f;                                           \
        EACH(BEGIN)                                                             \
        for (long loop = 0; loop < LOOPS; loop++) {                             \
            EACH(STEP)                                                          \
        }                                                                       \
        wide sum = EACH(SUM);                                                   \
        return sum[0];                                                          \
    }
#define BEGIN(i) wide x##i = (wide){0} + (float)(i + 2);
#define STEP(i)  x##i = x##i * half + half;
#define SUM(i)   +x##i
#if defined(__x86_64__)
MULTIPLY_ADD(multiply_add_16, 16, __attribute__((target("avx512f"))))
MULTIPLY_ADD(multiply_add_8, 8, __attribute__((target("avx2,fma"))))
#endif
MULTIPLY_ADD(multiply_add_4, 4, )

static unsigned fma_width(void)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f"))
        return 16;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return 8;
#endif
    return 4;
}

static float multiply_add(void)
{
#if defined(__x86_64__)
    if (fma_width() == 16)
        return multiply_add_16();
    if (fma_width() == 8)
        return multiply_add_8();
#endif
    return multiply_add_4();
}

static float CLONES read_all(const float *from, size_t count)
{
    vector sums[4] = {0};
    for (size_t i = 0; i + (size_t)4 * WIDTH <= count; i += (size_t)4 * WIDTH)
        for (size_t k = 0; k < 4; k++)
            sums[k] += *(const vector *)(const void *)(from + i + k * WIDTH);
    return (sums[0] + sums[1] + sums[2] + sums[3])[0];
}

#if defined(__x86_64__)
#include <immintrin.h>
#define STORE(to, value) _mm_stream_ps((to), (value))
#define LOAD(from)       _mm_load_ps(from)
typedef __m128 quad;
#define QUAD(x) _mm_set1_ps(x)
#else
typedef float quad __attribute__((vector_size(16)));
#define STORE(to, value) (*(quad *)(void *)(to) = (value))
#define LOAD(from)       (*(const quad *)(const void *)(from))
#define QUAD(x)          ((quad){0} + (x))
#endif

static void *work(void *context)
{
    struct part *part = context;
    if (part->kind == KIND_FMA)
        part->sink = multiply_add();
    if (part->kind == KIND_READ)
        part->sink = read_all(part->b, part->count);
    for (size_t i = 0; part->kind == KIND_WRITE && i < part->count; i += 4)
        STORE(part->a + i, QUAD(1));
    for (size_t i = 0; part->kind == KIND_TRIAD && i < part->count; i += 4)
        STORE(part->a + i, LOAD(part->b + i) + QUAD(3) * LOAD(part->c + i));
    return NULL;
}

static double best_seconds(enum kind kind, unsigned threads, float *memory)
{
    static struct part parts[THREADS_MAX];
    pthread_t ids[THREADS_MAX];
    size_t floats = ARRAY_BYTES / sizeof(float);
    size_t share = floats / threads / 64 * 64;
    double best = 1e9;
    for (int pass = 0; pass < PASSES; pass++) {
        double begin = now();
        for (unsigned i = 0; i < threads; i++) {
            parts[i] = (struct part){kind,
                                     memory + i * share,
                                     memory + floats + i * share,
                                     memory + 2 * floats + i * share,
                                     share,
                                     0};
            if (pthread_create(&ids[i], NULL, work, &parts[i]) != 0)
                exit(1);
        }
        for (unsigned i = 0; i < threads; i++)
            (void)pthread_join(ids[i], NULL);
        double seconds = now() - begin;
        best = seconds < best ? seconds : best;
    }
    return best;
}

static void keep_best(double *best, double rate)
{
    *best = rate > *best ? rate : *best;
}

static void show(const char *name, double ours, double theirs, const char *unit)
{
    (void)printf("%-14s ours %8.2f  here %8.2f %s  ratio %.3f\n", name, ours / 1e9, theirs / 1e9,
                 unit, ours / theirs);
}

int main(int argc, char **argv)
{
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    unsigned threads = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : (unsigned)cpus;
    float *memory = aligned_alloc((size_t)1 << 21, 3 * ARRAY_BYTES);
    struct ceiling ceiling;
    struct err err = {0};
    if (threads == 0 || threads > THREADS_MAX || memory == NULL)
        return 2;
    /* As ours has them, where the system leaves huge pages to the program. */
    (void)madvise(memory, 3 * ARRAY_BYTES, MADV_HUGEPAGE);
    for (size_t i = 0; i < 3 * ARRAY_BYTES / sizeof(float); i++)
        memory[i] = 1;
    double flops = 2.0 * fma_width() * CHAINS * LOOPS * threads;
    double theirs[KINDS_COUNT] = {0};
    double ours[KINDS_COUNT] = {0};
    double work[KINDS_COUNT] = {flops, ARRAY_BYTES, ARRAY_BYTES, 3 * (double)ARRAY_BYTES};
    double matmul = 0;
    for (int round = 0; round < ROUNDS; round++) {
        for (int kind = 0; kind < KINDS_COUNT; kind++)
            keep_best(&theirs[kind], work[kind] / best_seconds((enum kind)kind, threads, memory));
        if (ceiling_measure(threads, &ceiling, &err) != STATUS_OK) {
            (void)fprintf(stderr, "ceilings: %s\n", err.text);
            return 1;
        }
        keep_best(&ours[KIND_FMA], ceiling.fma_flops);
        keep_best(&ours[KIND_READ], ceiling.read_bytes);
        keep_best(&ours[KIND_WRITE], ceiling.write_bytes);
        keep_best(&ours[KIND_TRIAD], ceiling.triad_bytes);
        keep_best(&matmul, ceiling.matmul_flops);
    }
    free(memory);
    show("multiply-adds", ours[KIND_FMA], theirs[KIND_FMA], "GFLOP/s");
    show("read", ours[KIND_READ], theirs[KIND_READ], "GB/s");
    show("write", ours[KIND_WRITE], theirs[KIND_WRITE], "GB/s");
    show("triad", ours[KIND_TRIAD], theirs[KIND_TRIAD], "GB/s");
    (void)printf("%-14s ours %8.2f GFLOP/s, %.1f %% of multiply-adds\n", "matmul", matmul / 1e9,
                 100 * matmul / ours[KIND_FMA]);
    return 0;
}
