/* bench/ceilings.c - what `tokmark peak` says of the CPU, beside loops written for this file alone.
 *
 *   ceilings [THREADS [ROUNDS]]
 *
 * A multiply-add loop by the compiler's own vectors, and STREAM's read, write and triad (John D.
 * McCalpin, 1991) over arrays of four times the last cache, as STREAM asks and ours are, each the
 * best of ROUNDS (5) times 0.6 s of passes, in turn with ours; then the ratio of ours to theirs. On
 * a quiet machine all are within 5 % of 1. The shorter a pass, the likelier it is that nobody else
 * used the memory meanwhile: both must be of one length.
 */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "engines/native/ceiling.h"

#define ROUNDS      5 /* in turn: memory's rate wanders where other machines use it, too */
#define LOOK_S      0.6
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

enum kind { KIND_FMA, KIND_READ, KIND_WRITE, KIND_TRIAD, KINDS_COUNT, KIND_TOUCH };

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
    for (size_t i = 0; part->kind == KIND_TOUCH && i < part->count; i++)
        part->a[i] = part->b[i] = part->c[i] = 1;
    if (part->kind == KIND_READ)
        part->sink = read_all(part->b, part->count);
    for (size_t i = 0; part->kind == KIND_WRITE && i < part->count; i += 4)
        STORE(part->a + i, QUAD(1));
    for (size_t i = 0; part->kind == KIND_TRIAD && i < part->count; i += 4)
        STORE(part->a + i, LOAD(part->b + i) + QUAD(3) * LOAD(part->c + i));
    return NULL;
}

/* Of the shortest pass; `memory` is three arrays of so many bytes. */
static double best_seconds(enum kind kind, unsigned threads, float *memory, size_t bytes)
{
    static struct part parts[THREADS_MAX];
    pthread_t ids[THREADS_MAX];
    size_t floats = bytes / sizeof(float);
    size_t share = floats / threads / 64 * 64;
    double best = 1e9;
    double until = now() + LOOK_S;
    for (double begin = now(); begin < until; begin = now()) {
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

/* Three arrays, anew in each round as ours are: where a virtual machine's memory lies is a draw by
 * lot. Huge pages as ours have, where the system leaves them to the program. */
static float *take_memory(unsigned threads, size_t bytes)
{
    float *memory = aligned_alloc((size_t)1 << 21, 3 * bytes);
    if (memory == NULL)
        exit(1);
    (void)madvise(memory, 3 * bytes, MADV_HUGEPAGE);
    /* First by the threads that use them, as STREAM does. */
    (void)best_seconds(KIND_TOUCH, threads, memory, bytes);
    return memory;
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
    long rounds = argc > 2 ? strtol(argv[2], NULL, 10) : ROUNDS;
    struct ceiling_effort effort = ceiling_effort();
    size_t bytes = effort.array_bytes;
    struct ceiling ceiling;
    struct err err = {0};
    if (threads == 0 || threads > THREADS_MAX)
        return 2;
    double flops = 2.0 * fma_width() * CHAINS * LOOPS * threads;
    double theirs[KINDS_COUNT] = {0};
    double ours[KINDS_COUNT] = {0};
    double work[KINDS_COUNT] = {flops, (double)bytes, (double)bytes, 3 * (double)bytes};
    double matmul = 0;
    for (long round = 0; round < rounds; round++) {
        float *memory = take_memory(threads, bytes);
        for (int kind = 0; kind < KINDS_COUNT; kind++)
            keep_best(&theirs[kind],
                      work[kind] / best_seconds((enum kind)kind, threads, memory, bytes));
        free(memory);
        if (ceiling_measure(threads, &effort, &ceiling, &err) != STATUS_OK) {
            (void)fprintf(stderr, "ceilings: %s\n", err.text);
            return 1;
        }
        keep_best(&ours[KIND_FMA], ceiling.fma_flops);
        keep_best(&ours[KIND_READ], ceiling.read_bytes);
        keep_best(&ours[KIND_WRITE], ceiling.write_bytes);
        keep_best(&ours[KIND_TRIAD], ceiling.triad_bytes);
        keep_best(&matmul, ceiling.matmul_flops);
    }
    show("multiply-adds", ours[KIND_FMA], theirs[KIND_FMA], "GFLOP/s");
    show("read", ours[KIND_READ], theirs[KIND_READ], "GB/s");
    show("write", ours[KIND_WRITE], theirs[KIND_WRITE], "GB/s");
    show("triad", ours[KIND_TRIAD], theirs[KIND_TRIAD], "GB/s");
    (void)printf("%-14s ours %8.2f GFLOP/s, %.1f %% of multiply-adds\n", "matmul", matmul / 1e9,
                 100 * matmul / ours[KIND_FMA]);
    return 0;
}
