/* bench/ceilings.c - what `tokmark peak` says of the CPU, beside loops written for this file alone.
 *
 *   ceilings [THREADS [ROUNDS [MIB]]]
 *
 * A multiply-add loop by the compiler's own vectors, and STREAM's read, write and triad (John D.
 * McCalpin, 1991) over arrays as large as ours (of MIB), each the best of ROUNDS (5) times 0.2 s of
 * passes, in turn with ours; then the ratio of ours to theirs, of the best and of a round (the mean
 * and two standard errors). On a quiet machine all are within 5 % of 1. Both have arrays of one
 * size, anew in each round: the shorter a pass, the likelier it is that nobody else used the memory
 * meanwhile, and where a virtual machine's memory lies is a draw by lot.
 */
#include <math.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "engines/native/arena.h"
#include "engines/native/ceiling.h"

#define ROUNDS      5 /* in turn: memory's rate wanders where other machines use it, too */
#define LOOK_NS     (200 * NS_PER_MS)
#define LOOPS       20000000
#define CHAINS      12
#define THREADS_MAX 256
/* By name, one each: a loop over an array of them is not kept in registers. */
#define EACH(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11)

enum kind { KIND_FMA, KIND_READ, KIND_WRITE, KIND_TRIAD, KINDS_COUNT, KIND_TOUCH };

struct part {
    enum kind kind;
    float *a, *b, *c; /* borrowed */
    size_t count;     /* floats of each */
    float sink;
};

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

/* By name, again: vectors wider than a register are kept in memory. */
static float read_all(const float *from, size_t count)
{
    quad a = QUAD(0), b = a, c = a, d = a, e = a, f = a, g = a, h = a;
    for (size_t i = 0; i + 32 <= count; i += 32) {
        a += LOAD(from + i);
        b += LOAD(from + i + 4);
        c += LOAD(from + i + 8);
        d += LOAD(from + i + 12);
        e += LOAD(from + i + 16);
        f += LOAD(from + i + 20);
        g += LOAD(from + i + 24);
        h += LOAD(from + i + 28);
    }
    return (a + b + c + d + e + f + g + h)[0];
}

static void *work(void *context)
{
    struct part *part = context;
    if (part->kind == KIND_FMA)
        part->sink = multiply_add();
    for (size_t i = 0; part->kind == KIND_TOUCH && i < part->count; i++)
        part->a[i] = part->b[i] = part->c[i] = 1;
    if (part->kind == KIND_READ)
        part->sink = read_all(part->b, part->count);
    /* A line at a time, so that no other thread's stores come between its parts. */
    for (size_t i = 0; part->kind == KIND_WRITE && i < part->count; i += 16) {
        STORE(part->a + i, QUAD(1));
        STORE(part->a + i + 4, QUAD(1));
        STORE(part->a + i + 8, QUAD(1));
        STORE(part->a + i + 12, QUAD(1));
    }
    for (size_t i = 0; part->kind == KIND_TRIAD && i < part->count; i += 16) {
        const float *b = part->b + i;
        const float *c = part->c + i;
        quad first = LOAD(b) + QUAD(3) * LOAD(c);
        quad second = LOAD(b + 4) + QUAD(3) * LOAD(c + 4);
        quad third = LOAD(b + 8) + QUAD(3) * LOAD(c + 8);
        quad fourth = LOAD(b + 12) + QUAD(3) * LOAD(c + 12);
        STORE(part->a + i, first);
        STORE(part->a + i + 4, second);
        STORE(part->a + i + 8, third);
        STORE(part->a + i + 12, fourth);
    }
    return NULL;
}

/* Of the shortest pass; `memory` is three arrays of so many bytes. */
static double best_seconds(enum kind kind, unsigned threads, float *memory, size_t bytes)
{
    static struct part parts[THREADS_MAX];
    pthread_t ids[THREADS_MAX];
    size_t floats = bytes / sizeof(float);
    size_t share = floats / threads / 64 * 64;
    uint64_t best_ns = UINT64_MAX;
    uint64_t end_ns = clock_now_ns() + LOOK_NS;
    for (uint64_t begin_ns = clock_now_ns(); begin_ns < end_ns; begin_ns = clock_now_ns()) {
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
        uint64_t pass_ns = clock_now_ns() - begin_ns;
        best_ns = pass_ns < best_ns ? pass_ns : best_ns;
    }
    return (double)best_ns / NS_PER_S;
}

/* Of one kind: the best of each, and the logarithms of the rounds' ratios. */
struct rates {
    const char *name;
    double ours, theirs;
    double sum, squares;
};

static void add_round(struct rates *rates, double ours, double theirs)
{
    rates->ours = fmax(rates->ours, ours);
    rates->theirs = fmax(rates->theirs, theirs);
    rates->sum += log(ours / theirs);
    rates->squares += log(ours / theirs) * log(ours / theirs);
}

static void show(const struct rates *rates, const char *unit, double rounds)
{
    double mean = rates->sum / rounds;
    double error = sqrt(fmax(0, rates->squares / rounds - mean * mean) / fmax(1, rounds - 1));
    (void)printf("%-14s ours %8.2f  here %8.2f %s  ratio %.3f; of a round %.3f +-%.3f\n",
                 rates->name, rates->ours / 1e9, rates->theirs / 1e9, unit,
                 rates->ours / rates->theirs, exp(mean), exp(mean) * 2 * error);
}

/* Seconds of each kind, over arrays of the kind that ours are in. */
static enum status measure_here(unsigned threads, size_t bytes, double ret_seconds[KINDS_COUNT],
                                struct err *err)
{
    struct arena arena;
    TRY(arena_open(3 * (uint64_t)bytes, &arena, err));
    float *memory = (float *)(void *)arena.data;
    /* First by the threads that use them, as STREAM does. */
    (void)best_seconds(KIND_TOUCH, threads, memory, bytes);
    for (int kind = 0; kind < KINDS_COUNT; kind++)
        ret_seconds[kind] = best_seconds((enum kind)kind, threads, memory, bytes);
    arena_close(&arena);
    return STATUS_OK;
}

int main(int argc, char **argv)
{
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    unsigned threads = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : (unsigned)cpus;
    long rounds = argc > 2 ? strtol(argv[2], NULL, 10) : ROUNDS;
    struct ceiling_effort effort = ceiling_effort();
    effort.look_ns = LOOK_NS;
    if (argc > 3)
        effort.array_bytes = (size_t)strtoul(argv[3], NULL, 10) << 20;
    size_t bytes = effort.array_bytes;
    struct err err = {0};
    if (threads == 0 || threads > THREADS_MAX || rounds < 1)
        return 2;
    double flops = 2.0 * fma_width() * CHAINS * LOOPS * threads;
    double work[KINDS_COUNT] = {flops, (double)bytes, (double)bytes, 3 * (double)bytes};
    struct rates all[KINDS_COUNT] = {
        {.name = "multiply-adds"}, {.name = "read"}, {.name = "write"}, {.name = "triad"}};
    double matmul = 0;
    for (long round = 0; round < rounds; round++) {
        struct ceiling ceiling;
        double seconds[KINDS_COUNT];
        enum status status = STATUS_OK;
        /* Who is first finds another state of the memory. */
        for (long turn = 0; turn < 2 && status == STATUS_OK; turn++)
            status = (round + turn) % 2 == 0 ? measure_here(threads, bytes, seconds, &err)
                                             : ceiling_measure(threads, &effort, &ceiling, &err);
        if (status != STATUS_OK) {
            (void)fprintf(stderr, "ceilings: %s\n", err.text);
            return 1;
        }
        double ours[KINDS_COUNT] = {ceiling.fma_flops, ceiling.read_bytes, ceiling.write_bytes,
                                    ceiling.triad_bytes};
        for (int kind = 0; kind < KINDS_COUNT; kind++)
            add_round(&all[kind], ours[kind], work[kind] / seconds[kind]);
        matmul = fmax(matmul, ceiling.matmul_flops);
    }
    for (int kind = 0; kind < KINDS_COUNT; kind++)
        show(&all[kind], kind == KIND_FMA ? "GFLOP/s" : "GB/s", (double)rounds);
    (void)printf("%-14s ours %8.2f GFLOP/s, %.1f %% of multiply-adds\n", "matmul", matmul / 1e9,
                 100 * matmul / all[KIND_FMA].ours);
    return 0;
}
