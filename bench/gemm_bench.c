/* bench/gemm_bench.c - speed of the native engine's matmul, compared with a peer library.
 *
 *   gemm_bench [--rows M] [--threads N] [--repeats R] [--backend NAME] [--peer dnnl|openblas]
 *
 * For every weight shape of the models and each of the three matmuls of a linear layer it prints
 * the median, least and greatest GFLOP/s over interleaved repeats (ours, peer, ours, ...), the
 * share of the measured multiply-add peak of the same threads, and the ratio to the peer. Weights
 * rotate through a set larger than the caches, as the layers of a model do. Before each timed call
 * its side makes an untimed one, after a pause in which the other side's threads stop spinning. The
 * peer is loaded at run time; environment variables such as OPENBLAS_CORETYPE change it and must be
 * unset.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "base/clock.h"
#include "base/num.h"
#include "base/random.h"
#include "engines/native/gemm_backend.h"

#define REPEATS_MAX   101
#define ROTATED_BYTES ((size_t)96 << 20)
#define PEAK_LOOPS    4000000
#define PAUSE_US      10000

struct shape {
    size_t in, out;
};

static const struct shape shapes[] = {{256, 768},  {256, 1024}, {1024, 256},
                                      {256, 8192}, {768, 3072}, {1024, 4096}};

enum matmul { MATMUL_FORWARD, MATMUL_INPUT_GRADIENT, MATMUL_WEIGHT_GRADIENT, MATMUL_COUNT };
static const char *const matmul_names[] = {"y=x*W'", "dx=dy*W", "dW=dy'*x"};

typedef int dnnl_sgemm_function(char, char, long, long, long, float, const float *, long,
                                const float *, long, float, float *, long);
typedef void cblas_sgemm_function(int, int, int, int, int, int, float, const float *, int,
                                  const float *, int, float, float *, int);
typedef void set_threads_function(int);

struct peer {
    const char *name; /* NULL: none */
    dnnl_sgemm_function *dnnl;
    cblas_sgemm_function *cblas;
    set_threads_function *set_threads;
};

struct options {
    uint64_t rows, threads_count, repeats;
    const struct gemm_backend *backend;
    struct peer peer;
};

struct call {
    size_t m, n, k;
    struct gemm_operand a, b;
    float *c;
};

struct buffers {
    float *x, *y, *weights, *workspace; /* owned */
    size_t weights_floats;
};

_Noreturn static void fail(const char *text, const char *detail)
{
    (void)fprintf(stderr, "gemm_bench: %s%s\n", text, detail);
    exit(2);
}

/* --- the peer --------------------------------------------------------------------------------- */

/* POSIX lets a data pointer hold a function; ISO C has no cast for it. */
static void *find_symbol(void *library, const char *name)
{
    return dlsym(library, name);
}

static void peer_load(struct peer *peer, const char *name)
{
    const char *files[2] = {"libdnnl.so.2", "libdnnl.so.3"};
    if (strcmp(name, "openblas") == 0) {
        files[0] = "libopenblas.so.0";
        files[1] = "libopenblas.so";
    } else if (strcmp(name, "dnnl") != 0) {
        fail("unknown peer: ", name);
    }
    void *library = NULL;
    for (size_t i = 0; i < 2 && library == NULL; i++)
        library = dlopen(files[i], RTLD_NOW | RTLD_GLOBAL);
    if (library == NULL)
        fail("cannot load the peer: ", dlerror());
    void *function = find_symbol(library, strcmp(name, "dnnl") == 0 ? "dnnl_sgemm" : "cblas_sgemm");
    void *setter = find_symbol(library, "openblas_set_num_threads");
    if (setter == NULL)
        setter = find_symbol(RTLD_DEFAULT, "omp_set_num_threads");
    if (function == NULL || setter == NULL)
        fail("the peer lacks its functions: ", name);
    peer->name = name;
    if (strcmp(name, "dnnl") == 0)
        memcpy(&peer->dnnl, &function, sizeof(function));
    else
        memcpy(&peer->cblas, &function, sizeof(function));
    memcpy(&peer->set_threads, &setter, sizeof(setter));
}

static void peer_call(const struct peer *peer, const struct call *call)
{
    const struct gemm_operand *a = &call->a;
    const struct gemm_operand *b = &call->b;
    if (peer->dnnl != NULL)
        (void)peer->dnnl(a->is_transposed ? 'T' : 'N', b->is_transposed ? 'T' : 'N', (long)call->m,
                         (long)call->n, (long)call->k, 1.0f, a->data, (long)a->stride, b->data,
                         (long)b->stride, 0.0f, call->c, (long)call->n);
    else
        peer->cblas(101, a->is_transposed ? 112 : 111, b->is_transposed ? 112 : 111, (int)call->m,
                    (int)call->n, (int)call->k, 1.0f, a->data, (int)a->stride, b->data,
                    (int)b->stride, 0.0f, call->c, (int)call->n);
}

/* --- the peak --------------------------------------------------------------------------------- */

#if defined(__x86_64__)
__attribute__((target("avx512f"))) static void peak_avx512(void)
{
    __m512 sums[24];
#pragma GCC unroll 24
    for (int i = 0; i < 24; i++)
        sums[i] = _mm512_set1_ps((float)i);
    __m512 factor = _mm512_set1_ps(0.5f);
    for (int loop = 0; loop < PEAK_LOOPS; loop++) {
#pragma GCC unroll 24
        for (int i = 0; i < 24; i++) {
            sums[i] = _mm512_fmadd_ps(sums[i], factor, factor);
            __asm__ volatile("" : "+v"(sums[i]));
        }
    }
}

__attribute__((target("avx2,fma"))) static void peak_avx2(void)
{
    __m256 sums[12];
#pragma GCC unroll 12
    for (int i = 0; i < 12; i++)
        sums[i] = _mm256_set1_ps((float)i);
    __m256 factor = _mm256_set1_ps(0.5f);
    for (int loop = 0; loop < PEAK_LOOPS; loop++) {
#pragma GCC unroll 12
        for (int i = 0; i < 12; i++) {
            sums[i] = _mm256_fmadd_ps(sums[i], factor, factor);
            __asm__ volatile("" : "+x"(sums[i]));
        }
    }
}
#endif

static void run_peak(void *context, unsigned thread_index, size_t begin, size_t end)
{
    (void)thread_index;
    (void)begin;
    (void)end;
    const struct gemm_backend *backend = context;
#if defined(__x86_64__)
    if (backend == &gemm_backend_avx512)
        peak_avx512();
    else if (backend == &gemm_backend_avx2)
        peak_avx2();
#else
    (void)backend;
#endif
}

/* GFLOP/s of independent multiply-adds in registers; 0 where it is not measured. */
static double measure_peak(struct pool *pool, const struct gemm_backend *backend)
{
    double flops_per_loop = 0.0;
#if defined(__x86_64__)
    if (backend == &gemm_backend_avx512)
        flops_per_loop = 24 * 16 * 2;
    else if (backend == &gemm_backend_avx2)
        flops_per_loop = 12 * 8 * 2;
#endif
    double best = 0.0;
    unsigned threads_count = pool_threads_count(pool);
    for (int repeat = 0; repeat < 5; repeat++) {
        uint64_t begin_ns = clock_now_ns();
        pool_run(pool, threads_count, 1, run_peak, (void *)(uintptr_t)backend);
        double ns = (double)(clock_now_ns() - begin_ns);
        double rate = flops_per_loop * PEAK_LOOPS * threads_count / ns;
        best = rate > best ? rate : best;
    }
    return best;
}

/* --- measuring -------------------------------------------------------------------------------- */

static float *new_floats(size_t count)
{
    float *values = aligned_alloc(64, (count * sizeof(*values) + 63) / 64 * 64);
    if (values == NULL)
        fail("out of memory", "");
    for (size_t i = 0; i < count; i++)
        values[i] = (float)(random_unit(random_at(1, i)) - 0.5);
    return values;
}

static struct call make_call(const struct buffers *buffers, const struct shape *shape, size_t rows,
                             enum matmul matmul, size_t turn)
{
    size_t size = shape->in * shape->out;
    float *w = buffers->weights + turn % (buffers->weights_floats / size) * size;
    switch (matmul) {
    case MATMUL_FORWARD:
        return (struct call){.m = rows,
                             .n = shape->out,
                             .k = shape->in,
                             .a = {buffers->x, shape->in, false},
                             .b = {w, shape->in, true},
                             .c = buffers->y};
    case MATMUL_INPUT_GRADIENT:
        return (struct call){.m = rows,
                             .n = shape->in,
                             .k = shape->out,
                             .a = {buffers->y, shape->out, false},
                             .b = {w, shape->in, false},
                             .c = buffers->x};
    case MATMUL_WEIGHT_GRADIENT:
    case MATMUL_COUNT:
    default:
        return (struct call){.m = shape->out,
                             .n = shape->in,
                             .k = rows,
                             .a = {buffers->y, shape->out, true},
                             .b = {buffers->x, shape->in, false},
                             .c = w};
    }
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Sorts; returns the median. */
static double median(double *values, size_t count)
{
    qsort(values, count, sizeof(*values), compare_doubles);
    return count % 2 == 1 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

static void run_call(const struct options *options, int side, struct pool *pool,
                     const struct buffers *buffers, const struct call *call)
{
    if (side == 0)
        gemm_with(options->backend, pool, call->m, call->n, call->k, 1.0f, call->a, call->b, 0.0f,
                  call->c, call->n, buffers->workspace);
    else
        peer_call(&options->peer, call);
}

static void bench_matmul(const struct options *options, struct pool *pool,
                         const struct buffers *buffers, const struct shape *shape,
                         enum matmul matmul, double peak)
{
    double ours[REPEATS_MAX];
    double theirs[REPEATS_MAX];
    double flops = 2.0 * (double)options->rows * (double)shape->in * (double)shape->out;
    size_t turn = 0;
    for (size_t repeat = 0; repeat <= options->repeats; repeat++) {
        for (int side = 0; side < (options->peer.name != NULL ? 2 : 1); side++) {
            if (options->peer.name != NULL)
                (void)usleep(PAUSE_US);
            struct call warm = make_call(buffers, shape, options->rows, matmul, turn++);
            run_call(options, side, pool, buffers, &warm);
            struct call call = make_call(buffers, shape, options->rows, matmul, turn++);
            uint64_t begin_ns = clock_now_ns();
            run_call(options, side, pool, buffers, &call);
            double rate = flops / (double)(clock_now_ns() - begin_ns);
            if (repeat > 0) /* the first warms up */
                (side == 0 ? ours : theirs)[repeat - 1] = rate;
        }
    }
    size_t count = (size_t)options->repeats;
    double middle = median(ours, count);
    printf("%2u %-9s %5zu %5zu  %6.1f (%6.1f-%6.1f)", pool_threads_count(pool),
           matmul_names[matmul], shape->in, shape->out, middle, ours[0], ours[count - 1]);
    if (peak > 0.0)
        printf(" %4.0f%%", 100.0 * middle / peak);
    if (options->peer.name != NULL) {
        double other = median(theirs, count);
        printf("   %s %6.1f (%6.1f-%6.1f)  ratio %.2f", options->peer.name, other, theirs[0],
               theirs[count - 1], middle / other);
    }
    printf("\n");
}

static void bench_threads(const struct options *options, unsigned threads_count)
{
    struct pool *pool = NULL;
    struct err err = {0};
    if (pool_new(threads_count, &pool, &err) != STATUS_OK)
        fail(err.text, "");
    if (options->peer.name != NULL)
        options->peer.set_threads((int)threads_count);
    struct buffers buffers = {.x = new_floats(options->rows * 8192),
                              .y = new_floats(options->rows * 8192),
                              .weights = new_floats(ROTATED_BYTES / sizeof(float)),
                              .weights_floats = ROTATED_BYTES / sizeof(float)};
    buffers.workspace =
        new_floats(gemm_workspace_bytes(threads_count) / sizeof(*buffers.workspace));
    double peak = measure_peak(pool, options->backend);
    printf("# %s, %u thread(s), %zu rows; measured multiply-add peak %.1f GFLOP/s\n",
           options->backend->name, threads_count, (size_t)options->rows, peak);
    printf("# threads matmul in out  GFLOP/s median (least-greatest) share of peak\n");
    for (int matmul = 0; matmul < MATMUL_COUNT; matmul++)
        for (size_t i = 0; i < ARRAY_COUNT(shapes); i++)
            bench_matmul(options, pool, &buffers, &shapes[i], (enum matmul)matmul, peak);
    free(buffers.x);
    free(buffers.y);
    free(buffers.weights);
    free(buffers.workspace);
    pool_free(pool);
}

static const struct gemm_backend *find_backend(const char *name)
{
    for (size_t i = 0; i < gemm_backends_count; i++)
        if (strcmp(gemm_backends[i]->name, name) == 0 && gemm_backends[i]->is_supported())
            return gemm_backends[i];
    fail("no such backend on this processor: ", name);
}

int main(int argc, char **argv)
{
    struct options options = {.rows = 512, .repeats = 9, .backend = gemm_backend_best()};
    struct err err = {0};
    for (int i = 1; i < argc; i += 2) {
        enum status status = STATUS_OK;
        if (i + 1 == argc)
            fail("no value after ", argv[i]);
        if (strcmp(argv[i], "--rows") == 0)
            status = num_parse_u64(argv[i + 1], 1, 65536, &options.rows, &err);
        else if (strcmp(argv[i], "--threads") == 0)
            status = num_parse_u64(argv[i + 1], 1, POOL_THREADS_MAX, &options.threads_count, &err);
        else if (strcmp(argv[i], "--repeats") == 0)
            status = num_parse_u64(argv[i + 1], 1, REPEATS_MAX, &options.repeats, &err);
        else if (strcmp(argv[i], "--backend") == 0)
            options.backend = find_backend(argv[i + 1]);
        else if (strcmp(argv[i], "--peer") == 0)
            peer_load(&options.peer, argv[i + 1]);
        else
            fail("unknown flag ", argv[i]);
        if (status != STATUS_OK)
            fail(err.text, "");
    }
    if (options.threads_count > 0) {
        bench_threads(&options, (unsigned)options.threads_count);
    } else {
        bench_threads(&options, 1);
        bench_threads(&options, 2);
    }
    return 0;
}
