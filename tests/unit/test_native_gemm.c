/* Against a product summed in double precision by the textbook loop. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "engines/native/gemm_backend.h"

#define PAD 3 /* extra columns in every stored row, which must not be touched or used */

struct problem {
    size_t m, n, k;
    float alpha, beta;
    bool is_a_transposed, is_b_transposed;
    size_t a_stride, b_stride, c_stride;
    float *a, *b, *c, *c_before; /* owned */
    void *workspace;             /* borrowed: from shared_workspace() */
};

static float value_at(uint64_t key, uint64_t index)
{
    return (float)(random_unit(random_at(key, index)) * 2.0 - 1.0);
}

/* A stored matrix whose padding is NaN: any use of it shows. */
static float *matrix_new(size_t rows, size_t columns, size_t stride, uint64_t key)
{
    float *values = malloc((rows * stride + 1) * sizeof(*values));
    cr_assert_not_null(values);
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < stride; j++)
            values[i * stride + j] = j < columns ? value_at(key, i * columns + j) : NAN;
    return values;
}

/* One for all problems, as an engine has; at first all NaN: nothing may be read before it is
 * written.
 */
static void *shared_workspace(unsigned threads_count)
{
    static void *workspace;
    static unsigned made_for;
    if (threads_count > made_for) {
        size_t bytes = gemm_workspace_bytes(threads_count);
        free(workspace);
        workspace = aligned_alloc(GEMM_WORKSPACE_ALIGNMENT, bytes);
        cr_assert_not_null(workspace);
        memset(workspace, 0xFF, bytes);
        made_for = threads_count;
    }
    return workspace;
}

static void problem_init(struct problem *p, unsigned threads_count)
{
    size_t a_rows = p->is_a_transposed ? p->k : p->m;
    size_t a_columns = p->is_a_transposed ? p->m : p->k;
    size_t b_rows = p->is_b_transposed ? p->n : p->k;
    size_t b_columns = p->is_b_transposed ? p->k : p->n;
    p->a_stride = a_columns + PAD;
    p->b_stride = b_columns + PAD;
    p->c_stride = p->n + PAD;
    p->a = matrix_new(a_rows, a_columns, p->a_stride, 1);
    p->b = matrix_new(b_rows, b_columns, p->b_stride, 2);
    p->c = matrix_new(p->m, p->n, p->c_stride, 3);
    if (p->beta == 0.0f)
        for (size_t i = 0; i < p->m * p->c_stride; i++)
            p->c[i] = NAN;
    size_t c_bytes = p->m * p->c_stride * sizeof(float);
    p->c_before = malloc(c_bytes + 1);
    memcpy(p->c_before, p->c, c_bytes);
    p->workspace = shared_workspace(threads_count);
}

static void problem_release(struct problem *p)
{
    free(p->a);
    free(p->b);
    free(p->c);
    free(p->c_before);
}

static void problem_run(const struct problem *p, const struct gemm_backend *backend,
                        struct pool *pool)
{
    gemm_with(backend, pool, p->m, p->n, p->k, p->alpha,
              (struct gemm_operand){p->a, p->a_stride, p->is_a_transposed},
              (struct gemm_operand){p->b, p->b_stride, p->is_b_transposed}, p->beta, p->c,
              p->c_stride, p->workspace);
}

/* |error| <= (k + 2) * 2^-24 * (|alpha| sum |a b| + |beta c|): the classic bound of a dot product,
 * which holds for any order of summation. */
static void problem_check(const struct problem *p, const char *name)
{
    for (size_t i = 0; i < p->m; i++) {
        for (size_t j = 0; j < p->n; j++) {
            double sum = 0.0;
            double size = 0.0;
            for (size_t k = 0; k < p->k; k++) {
                double a = p->a[p->is_a_transposed ? k * p->a_stride + i : i * p->a_stride + k];
                double b = p->b[p->is_b_transposed ? j * p->b_stride + k : k * p->b_stride + j];
                sum += a * b;
                size += fabs(a * b);
            }
            sum *= p->alpha;
            size *= fabs((double)p->alpha);
            if (p->beta != 0.0f) {
                double before = (double)p->beta * p->c_before[i * p->c_stride + j];
                sum += before;
                size += fabs(before);
            }
            double got = p->c[i * p->c_stride + j];
            cr_assert(fabs(got - sum) <= ((double)p->k + 2.0) * 0x1p-24 * size + 1e-30,
                      "%s m %zu n %zu k %zu trans %d%d: c(%zu,%zu) = %.9g, not %.9g", name, p->m,
                      p->n, p->k, p->is_a_transposed, p->is_b_transposed, i, j, got, sum);
        }
        for (size_t j = p->n; j < p->c_stride; j++)
            cr_assert(isnan(p->c[i * p->c_stride + j]), "%s wrote past row %zu", name, i);
    }
}

static void check_layouts(size_t m, size_t n, size_t k, float alpha, float beta, struct pool *pool)
{
    for (size_t at = 0; at < gemm_backends_count; at++) {
        const struct gemm_backend *backend = gemm_backends[at];
        if (!backend->is_supported())
            continue;
        for (unsigned layout = 0; layout < 4; layout++) {
            struct problem p = {.m = m, .n = n, .k = k, .alpha = alpha, .beta = beta};
            p.is_a_transposed = (layout & 1) != 0;
            p.is_b_transposed = (layout & 2) != 0;
            problem_init(&p, pool == NULL ? 1 : pool_threads_count(pool));
            problem_run(&p, backend, pool);
            problem_check(&p, backend->name);
            problem_release(&p);
        }
    }
}

Test(native_gemm, every_small_size)
{
    for (size_t size = 1; size <= 70; size++) {
        check_layouts(size, (size * 7) % 70 + 1, (size * 11) % 70 + 1, 1.0f, 0.0f, NULL);
        check_layouts((size * 3) % 70 + 1, size, (size * 5) % 70 + 1, 1.0f, 1.0f, NULL);
        check_layouts((size * 13) % 16 + 1, (size * 17) % 70 + 1, size, -0.5f, 2.0f, NULL);
    }
}

Test(native_gemm, few_rows)
{
    for (size_t m = 1; m <= GEMM_DOT_ROWS + 1; m++) {
        for (size_t n = 1; n <= 40; n += 7)
            check_layouts(m, n, 37 + n, 0.75f, n % 2 == 0 ? 0.0f : -1.5f, NULL);
        check_layouts(m, 130, 600, 1.0f, 1.0f, NULL);
    }
}

Test(native_gemm, blocks_meet)
{
    check_layouts(GEMM_MC_MAX + 30, 129, GEMM_KC_MAX + 45, 1.0f, 0.0f, NULL);
    check_layouts(33, GEMM_NC_MAX + 97, 200, 1.25f, 0.5f, NULL);
    check_layouts(17, 40, 2 * GEMM_KC_MAX + 1, 1.0f, 1.0f, NULL);
    check_layouts(2, 3, 40000, 1.0f, 1.0f, NULL); /* a transposed row longer than a block */
}

Test(native_gemm, without_depth_scales_c)
{
    check_layouts(5, 7, 0, 1.0f, 0.0f, NULL);
    check_layouts(5, 7, 0, 1.0f, -2.0f, NULL);
    check_layouts(20, 37, 5, 0.0f, 3.0f, NULL);
}

Test(native_gemm, threads)
{
    for (unsigned threads_count = 2; threads_count <= 6; threads_count++) {
        struct pool *pool = NULL;
        cr_assert_eq(pool_new(threads_count, &pool, NULL), STATUS_OK);
        check_layouts(150, 70, 130, 1.0f, 0.0f, pool);
        check_layouts(31, 517, 64, 1.0f, 1.0f, pool);
        check_layouts(4, 1100, 300, 1.0f, 0.0f, pool);
        check_layouts(1, 300, 1500, 2.0f, 0.5f, pool);
        check_layouts(900, 1, 300, 1.0f, 0.0f, pool);
        pool_free(pool);
    }
}

Test(native_gemm, equal_bits_with_any_number_of_threads)
{
    const size_t shapes[][3] = {{100, 90, 1200}, {3, 1000, 700}, {24, 333, 530}, {513, 40, 95}};
    for (size_t shape = 0; shape < ARRAY_COUNT(shapes); shape++) {
        for (size_t at = 0; at < gemm_backends_count; at++) {
            if (!gemm_backends[at]->is_supported())
                continue;
            struct problem one = {.m = shapes[shape][0],
                                  .n = shapes[shape][1],
                                  .k = shapes[shape][2],
                                  .alpha = 1.5f,
                                  .beta = 0.5f,
                                  .is_b_transposed = shape % 2 == 0};
            problem_init(&one, 1);
            problem_run(&one, gemm_backends[at], NULL);
            for (unsigned threads_count = 2; threads_count <= 5; threads_count++) {
                struct problem many = one;
                struct pool *pool = NULL;
                cr_assert_eq(pool_new(threads_count, &pool, NULL), STATUS_OK);
                problem_init(&many, threads_count);
                problem_run(&many, gemm_backends[at], pool);
                cr_assert_eq(memcmp(one.c, many.c, one.m * one.c_stride * sizeof(float)), 0,
                             "%s shape %zu differs with %u threads", gemm_backends[at]->name, shape,
                             threads_count);
                problem_release(&many);
                pool_free(pool);
            }
            problem_release(&one);
        }
    }
}

Test(native_gemm, front_doors_take_the_best_backend)
{
    cr_assert_str_eq(gemm_backend_name(), gemm_backend_best()->name);
    struct problem p = {.m = 40, .n = 50, .k = 60, .alpha = 1.0f, .is_b_transposed = true};
    problem_init(&p, 2);
    struct pool *pool = NULL;
    cr_assert_eq(pool_new(2, &pool, NULL), STATUS_OK);
    struct gemm_operand a = {p.a, p.a_stride, false};
    struct gemm_operand b = {p.b, p.b_stride, true};
    struct matrix am = matrix_make(p.a, MATRIX_F32, p.m, p.k);
    struct matrix bm = matrix_make(p.b, MATRIX_F32, p.n, p.k);
    struct matrix c = matrix_make(p.c, MATRIX_F32, p.m, p.n);
    am.stride = p.a_stride;
    bm.stride = p.b_stride;
    c.stride = p.c_stride;
    am.scale = 4.0f; /* as alpha: powers of two change no bit */
    bm.scale = 0.5f;
    gemm(pool, 0.5f, (struct gemm_factor){am, false}, (struct gemm_factor){bm, true}, 0.0f, c,
         p.workspace);
    problem_check(&p, "gemm");
    gemm_serial(p.m, p.n, p.k, 1.0f, a, b, 0.0f, p.c, p.c_stride, p.workspace);
    problem_check(&p, "gemm_serial");
    pool_free(pool);
    problem_release(&p);
}
