#include "engines/native/gemm.h"

#include <stdint.h>
#include <string.h>

#include "engines/native/gemm_backend.h"

/* Multiply-adds below which waking another thread costs more than it saves. */
#define MULTIPLY_ADDS_PER_THREAD_MIN ((double)(64 * 1024))
/* Moving one element into a panel costs about as much as this many multiply-adds. */
#define PACK_COST 8.0
/* Longest piece of a transposed row that is straightened for the kernels for few rows. */
#define FEW_ROWS_K   ((size_t)16384)

#define A_FLOATS     (GEMM_MC_MAX * GEMM_KC_MAX)
#define B_FLOATS     (GEMM_NC_MAX * GEMM_KC_MAX)
#define THREAD_BYTES ((A_FLOATS + B_FLOATS) * sizeof(float))

_Static_assert(THREAD_BYTES % GEMM_WORKSPACE_ALIGNMENT == 0,
               "slices of the workspace stay aligned");
_Static_assert(FEW_ROWS_K *GEMM_DOT_ROWS <= A_FLOATS + B_FLOATS, "straightened rows fit");

/* One matmul, and how it is spread over threads. All borrowed for the call. */
struct matmul {
    const struct gemm_backend *backend;
    size_t m, n, k;
    float alpha, beta;
    struct gemm_operand a, b;
    float *c;
    size_t c_stride;
    unsigned char *workspace;
    size_t row_parts, column_parts;
};

const struct gemm_backend *const gemm_backends[] = {
#if defined(__x86_64__)
    &gemm_backend_avx512,
    &gemm_backend_avx2,
#endif
    &gemm_backend_portable,
};
const size_t gemm_backends_count = ARRAY_COUNT(gemm_backends);

const struct gemm_backend *gemm_backend_best(void)
{
    for (size_t i = 0; i < gemm_backends_count; i++)
        if (gemm_backends[i]->is_supported())
            return gemm_backends[i];
    return &gemm_backend_portable;
}

const char *gemm_backend_name(void)
{
    return gemm_backend_best()->name;
}

size_t gemm_workspace_bytes(unsigned threads_count)
{
    return THREAD_BYTES * threads_count;
}

static size_t size_min(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t divide_up(size_t a, size_t b)
{
    return (a + b - 1) / b;
}

/* The block length that cuts `length` into the fewest blocks of at most `most`, nearly equal, each
 * (but the last) a multiple of `unit`. */
static size_t block_length(size_t length, size_t most, size_t unit)
{
    size_t blocks = divide_up(length, most);
    return size_min(most, divide_up(divide_up(length, blocks), unit) * unit);
}

/* Where part `index` of `parts` begins when whole units are dealt out nearly equally. */
static size_t part_begin(size_t length, size_t unit, size_t parts, size_t index)
{
    size_t units = divide_up(length, unit);
    size_t begin = (units / parts) * index + size_min(index, units % parts);
    return size_min(begin * unit, length);
}

/* --- packing ---------------------------------------------------------------------------------- */

/* Rows are read in their stored order, a few steps of k for all panels at a time: reading a panel
 * to its end would touch as many pages as there are steps, and each cache line more than once. */
#define LANE_STEPS  ((size_t)8)
#define ROWS_AHEAD  ((size_t)4)
#define LINE_FLOATS ((size_t)16)

static void pack_a(const struct matmul *p, float *block, size_t i, size_t rows, size_t k,
                   size_t k_count)
{
    if (!p->a.is_transposed) {
        for (size_t row = 0; row < rows; row++) {
            const float *source = p->a.data + (i + row) * p->a.stride + k;
            for (size_t at = 0; at < k_count; at += LINE_FLOATS)
                gemm_fetch(source, ROWS_AHEAD * p->a.stride + at);
            memcpy(block + row * GEMM_A_STRIDE, source, k_count * sizeof(*block));
        }
        return;
    }
    size_t panels_count = divide_up(rows, p->backend->mr);
    for (size_t step = 0; step < k_count; step += LANE_STEPS) {
        size_t steps = size_min(LANE_STEPS, k_count - step);
        const float *source = p->a.data + (k + step) * p->a.stride + i;
        for (size_t panel = 0; panel < panels_count; panel++) {
            size_t begin = part_begin(rows, 1, panels_count, panel);
            size_t lanes = part_begin(rows, 1, panels_count, panel + 1) - begin;
            p->backend->pack_lanes(block + begin * k_count + step * lanes, lanes, lanes, steps,
                                   source + begin, p->a.stride);
        }
    }
}

static void pack_b(const struct matmul *p, float *panels, size_t j, size_t columns, size_t k,
                   size_t k_count)
{
    size_t nr = p->backend->nr;
    if (p->b.is_transposed) {
        for (size_t begin = 0; begin < columns; begin += nr)
            p->backend->pack_transposed(panels + begin * k_count, size_min(nr, columns - begin),
                                        k_count, p->b.data + (j + begin) * p->b.stride + k,
                                        p->b.stride);
        return;
    }
    for (size_t step = 0; step < k_count; step += LANE_STEPS) {
        size_t steps = size_min(LANE_STEPS, k_count - step);
        const float *source = p->b.data + (k + step) * p->b.stride + j;
        for (size_t begin = 0; begin < columns; begin += nr)
            p->backend->pack_lanes(panels + begin * k_count + step * nr, nr,
                                   size_min(nr, columns - begin), steps, source + begin,
                                   p->b.stride);
    }
}

/* --- many rows: packed blocks ----------------------------------------------------------------- */

/* Tiles of one packed block of A against one packed block of B. */
static void multiply_blocks(const struct matmul *p, const float *a, const float *b, size_t i,
                            size_t rows, size_t j, size_t columns, size_t k_count, float beta)
{
    const struct gemm_backend *backend = p->backend;
    size_t panels_count = divide_up(rows, backend->mr);
    for (size_t column = 0; column < columns; column += backend->nr) {
        size_t tile_columns = size_min(backend->nr, columns - column);
        for (size_t panel = 0; panel < panels_count; panel++) {
            size_t row = part_begin(rows, 1, panels_count, panel);
            size_t tile_rows = part_begin(rows, 1, panels_count, panel + 1) - row;
            float *c = p->c + (i + row) * p->c_stride + j + column;
            if (p->a.is_transposed)
                backend->tile_by_lanes(tile_rows, tile_columns, k_count, p->alpha,
                                       a + row * k_count, b + column * k_count, beta, c,
                                       p->c_stride);
            else
                backend->tile_by_rows(tile_rows, tile_columns, k_count, p->alpha,
                                      a + row * GEMM_A_STRIDE, b + column * k_count, beta, c,
                                      p->c_stride);
        }
    }
}

static void multiply_packed(const struct matmul *p, size_t i_begin, size_t i_end, size_t j_begin,
                            size_t j_end, float *workspace)
{
    const struct gemm_backend *backend = p->backend;
    float *a_block = workspace;
    float *b_panels = workspace + A_FLOATS;
    size_t mc = block_length(i_end - i_begin, backend->mc, 1);
    size_t nc = block_length(j_end - j_begin, backend->nc, backend->nr);
    size_t kc = block_length(p->k, backend->kc, 16);
    for (size_t j = j_begin; j < j_end; j += nc) {
        size_t columns = size_min(nc, j_end - j);
        for (size_t k = 0; k < p->k; k += kc) {
            size_t k_count = size_min(kc, p->k - k);
            pack_b(p, b_panels, j, columns, k, k_count);
            for (size_t i = i_begin; i < i_end; i += mc) {
                size_t rows = size_min(mc, i_end - i);
                pack_a(p, a_block, i, rows, k, k_count);
                multiply_blocks(p, a_block, b_panels, i, rows, j, columns, k_count,
                                k == 0 ? p->beta : 1.0f);
            }
        }
    }
}

/* --- few rows: B streamed once, as it lies ---------------------------------------------------- */

static void multiply_streamed(const struct matmul *p, size_t j_begin, size_t j_end,
                              float *workspace)
{
    size_t k_most = p->a.is_transposed ? size_min(FEW_ROWS_K, p->k) : p->k;
    for (size_t k = 0; k < p->k; k += k_most) {
        size_t k_count = size_min(k_most, p->k - k);
        const float *a = p->a.data + k;
        size_t a_stride = p->a.stride;
        if (p->a.is_transposed) {
            for (size_t row = 0; row < p->m; row++)
                for (size_t at = 0; at < k_count; at++)
                    workspace[row * k_count + at] = p->a.data[(k + at) * p->a.stride + row];
            a = workspace;
            a_stride = k_count;
        }
        float beta = k == 0 ? p->beta : 1.0f;
        if (p->b.is_transposed)
            p->backend->dots(p->m, j_end - j_begin, k_count, p->alpha, a, a_stride,
                             p->b.data + j_begin * p->b.stride + k, p->b.stride, beta,
                             p->c + j_begin, p->c_stride);
        else
            p->backend->axpys(p->m, j_end - j_begin, k_count, p->alpha, a, a_stride,
                              p->b.data + k * p->b.stride + j_begin, p->b.stride, beta,
                              p->c + j_begin, p->c_stride);
    }
}

/* --- threads ---------------------------------------------------------------------------------- */

static bool is_streamed(const struct matmul *p)
{
    return p->m <= (p->b.is_transposed ? GEMM_DOT_ROWS : GEMM_AXPY_ROWS);
}

static void multiply_part(void *context, unsigned thread_index, size_t begin, size_t end)
{
    const struct matmul *p = context;
    float *workspace = (float *)(void *)(p->workspace + thread_index * THREAD_BYTES);
    for (size_t part = begin; part < end; part++) {
        size_t row = part / p->column_parts;
        size_t column = part % p->column_parts;
        size_t i_begin = part_begin(p->m, 1, p->row_parts, row);
        size_t i_end = part_begin(p->m, 1, p->row_parts, row + 1);
        size_t j_begin = part_begin(p->n, p->backend->nr, p->column_parts, column);
        size_t j_end = part_begin(p->n, p->backend->nr, p->column_parts, column + 1);
        if (i_begin == i_end || j_begin == j_end)
            continue;
        if (is_streamed(p))
            multiply_streamed(p, j_begin, j_end, workspace);
        else
            multiply_packed(p, i_begin, i_end, j_begin, j_end, workspace);
    }
}

/* A thread packs the rows of A and the columns of B that it multiplies, so a part costs its area
 * and, less, its two sides: the cheapest grid of parts_count parts. */
static void choose_grid(struct matmul *p, size_t parts_count)
{
    p->row_parts = 1;
    p->column_parts = parts_count;
    if (is_streamed(p))
        return;
    double least = 0.0;
    for (size_t row_parts = 1; row_parts <= parts_count; row_parts++) {
        if (parts_count % row_parts != 0)
            continue;
        double rows = (double)divide_up(p->m, row_parts);
        double columns =
            (double)(divide_up(divide_up(p->n, p->backend->nr), parts_count / row_parts) *
                     p->backend->nr);
        double cost = rows * columns + PACK_COST * (rows + columns);
        if (row_parts == 1 || cost < least) {
            least = cost;
            p->row_parts = row_parts;
            p->column_parts = parts_count / row_parts;
        }
    }
}

static void scale_c(const struct matmul *p)
{
    for (size_t i = 0; i < p->m; i++)
        for (size_t j = 0; j < p->n; j++) {
            float *at = p->c + i * p->c_stride + j;
            *at = p->beta == 0.0f ? 0.0f : p->beta * *at;
        }
}

void gemm_with(const struct gemm_backend *backend, struct pool *pool, size_t m, size_t n, size_t k,
               float alpha, struct gemm_operand a, struct gemm_operand b, float beta, float *c,
               size_t c_stride, void *workspace)
{
    struct matmul matmul = {.backend = backend,
                            .m = m,
                            .n = n,
                            .k = k,
                            .alpha = alpha,
                            .beta = beta,
                            .a = a,
                            .b = b,
                            .c = c,
                            .c_stride = c_stride,
                            .workspace = workspace};
    ASSERT((uintptr_t)workspace % GEMM_WORKSPACE_ALIGNMENT == 0);
    if (m == 0 || n == 0)
        return;
    if (k == 0) {
        scale_c(&matmul);
        return;
    }
    double worth = (double)m * (double)n * (double)k / MULTIPLY_ADDS_PER_THREAD_MIN;
    size_t parts_count = pool == NULL ? 1 : pool_threads_count(pool);
    if (worth < (double)parts_count)
        parts_count = worth < 1.0 ? 1 : (size_t)worth;
    choose_grid(&matmul, parts_count);
    if (parts_count == 1)
        multiply_part(&matmul, 0, 0, 1);
    else
        pool_run(pool, parts_count, 1, multiply_part, &matmul);
}

void gemm(struct pool *pool, float alpha, struct gemm_factor a, struct gemm_factor b, float beta,
          struct matrix c, void *workspace)
{
    struct matrix am = a.matrix;
    struct matrix bm = b.matrix;
    size_t k = a.is_transposed ? am.rows : am.columns;
    ASSERT((a.is_transposed ? am.columns : am.rows) == c.rows);
    ASSERT((b.is_transposed ? bm.columns : bm.rows) == k);
    ASSERT((b.is_transposed ? bm.rows : bm.columns) == c.columns);
    /* The only kernels so far. Weights of another type get a case here. */
    ASSERT(am.dtype == MATRIX_F32 && bm.dtype == MATRIX_F32 && c.dtype == MATRIX_F32 &&
           c.scale == 1.0f);
    gemm_with(gemm_backend_best(), pool, c.rows, c.columns, k, alpha * am.scale * bm.scale,
              (struct gemm_operand){am.data, am.stride, a.is_transposed},
              (struct gemm_operand){bm.data, bm.stride, b.is_transposed}, beta, c.data, c.stride,
              workspace);
}

void gemm_serial(size_t m, size_t n, size_t k, float alpha, struct gemm_operand a,
                 struct gemm_operand b, float beta, float *c, size_t c_stride, void *workspace)
{
    gemm_with(gemm_backend_best(), NULL, m, n, k, alpha, a, b, beta, c, c_stride, workspace);
}
