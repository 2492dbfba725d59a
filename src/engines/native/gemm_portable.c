/* Kernels for any processor: vectors of four by the compilers' vector extension, which become
 * SSE2, NEON or plain code. */
#include <string.h>

#include "engines/native/gemm_backend.h"

#define MR    4
#define NR    8
#define LANES 4

typedef float vector __attribute__((vector_size(LANES * sizeof(float))));

static bool is_supported(void)
{
    return true;
}

static inline vector load(const float *from)
{
    vector v;
    memcpy(&v, from, sizeof(v));
    return v;
}

static void pack_lanes(float *panel, size_t width, size_t lanes, size_t k_count,
                       const float *source, size_t stride)
{
    for (size_t k = 0; k < k_count; k++) {
        for (size_t lane = 0; lane < lanes; lane++)
            panel[k * width + lane] = source[k * stride + lane];
        for (size_t lane = lanes; lane < width; lane++)
            panel[k * width + lane] = 0.0f;
    }
}

static void pack_transposed(float *panel, size_t width, size_t lanes, size_t k_count,
                            const float *source, size_t stride)
{
    for (size_t lane = 0; lane < lanes; lane++)
        for (size_t k = 0; k < k_count; k++)
            panel[k * width + lane] = source[lane * stride + k];
    for (size_t lane = lanes; lane < width; lane++)
        for (size_t k = 0; k < k_count; k++)
            panel[k * width + lane] = 0.0f;
}

/* `rows` is a constant where this is expanded, so that the sums stay in registers. */
static inline __attribute__((always_inline)) void tile_rows(size_t rows, size_t columns,
                                                            size_t k_count, float alpha,
                                                            const float *a, const float *b,
                                                            float beta, float *c, size_t c_stride)
{
    vector sums[MR][NR / LANES] = {{{0.0f}}};
    for (size_t k = 0; k < k_count; k++, a += rows, b += NR) {
        vector b0 = load(b);
        vector b1 = load(b + LANES);
        for (size_t i = 0; i < rows; i++) {
            sums[i][0] += a[i] * b0;
            sums[i][1] += a[i] * b1;
        }
    }
    for (size_t i = 0; i < rows; i++) {
        float row[NR];
        memcpy(row, sums[i], sizeof(row));
        for (size_t j = 0; j < columns; j++) {
            float *at = c + i * c_stride + j;
            *at = beta == 0.0f ? alpha * row[j] : alpha * row[j] + beta * *at;
        }
    }
}

static void tile(size_t rows, size_t columns, size_t k_count, float alpha, const float *a,
                 const float *b, float beta, float *c, size_t c_stride)
{
    switch (rows) {
    case 1: tile_rows(1, columns, k_count, alpha, a, b, beta, c, c_stride); break;
    case 2: tile_rows(2, columns, k_count, alpha, a, b, beta, c, c_stride); break;
    case 3: tile_rows(3, columns, k_count, alpha, a, b, beta, c, c_stride); break;
    default: tile_rows(MR, columns, k_count, alpha, a, b, beta, c, c_stride); break;
    }
}

static float dot(const float *x, const float *y, size_t count)
{
    vector sums[2] = {{0.0f}, {0.0f}};
    size_t i = 0;
    for (; i + 2 * LANES <= count; i += 2 * LANES) {
        sums[0] += load(x + i) * load(y + i);
        sums[1] += load(x + i + LANES) * load(y + i + LANES);
    }
    vector sum = sums[0] + sums[1];
    float total = (sum[0] + sum[1]) + (sum[2] + sum[3]);
    for (; i < count; i++)
        total += x[i] * y[i];
    return total;
}

static void dots(size_t rows, size_t n, size_t k_count, float alpha, const float *a,
                 size_t a_stride, const float *b, size_t b_stride, float beta, float *c,
                 size_t c_stride)
{
    for (size_t j = 0; j < n; j++)
        for (size_t i = 0; i < rows; i++) {
            float sum = alpha * dot(a + i * a_stride, b + j * b_stride, k_count);
            float *at = c + i * c_stride + j;
            *at = beta == 0.0f ? sum : sum + beta * *at;
        }
}

static void axpys(size_t rows, size_t n, size_t k_count, float alpha, const float *a,
                  size_t a_stride, const float *b, size_t b_stride, float beta, float *c,
                  size_t c_stride)
{
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < n; j++)
            c[i * c_stride + j] = beta == 0.0f ? 0.0f : beta * c[i * c_stride + j];
    for (size_t k = 0; k < k_count; k++)
        for (size_t i = 0; i < rows; i++) {
            float factor = alpha * a[i * a_stride + k];
            for (size_t j = 0; j < n; j++)
                c[i * c_stride + j] += factor * b[k * b_stride + j];
        }
}

const struct gemm_backend gemm_backend_portable = {
    .name = "portable",
    .is_supported = is_supported,
    .mr = MR,
    .nr = NR,
    .mc = 128,
    .kc = 256,
    .nc = 1024,
    .pack_lanes = pack_lanes,
    .pack_transposed = pack_transposed,
    .tile = tile,
    .dots = dots,
    .axpys = axpys,
};
