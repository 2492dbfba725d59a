/* engines/native/gemm_backend.h - what gemm.c needs of a kernel set; for gemm*.c, tests and bench/.
 *
 * Packed panels. A panel of A holds up to `mr` rows, a panel of B always `nr` columns (zero-filled
 * past the edge of the matrix), both k-major: element (lane, k) is at panel[k * width + lane], with
 * width = the panel's own number of rows for A, nr for B.
 */
#ifndef ENGINES_NATIVE_GEMM_BACKEND_H
#define ENGINES_NATIVE_GEMM_BACKEND_H

#include "engines/native/gemm.h"

/* From this many rows on, B is packed; below, it is streamed as it lies. */
#define GEMM_FEW_ROWS 8

/* Blocking limits that gemm_workspace_bytes() is made for: every backend's blocks fit. */
#define GEMM_MC_MAX ((size_t)336)
#define GEMM_KC_MAX ((size_t)512)
#define GEMM_NC_MAX ((size_t)1024)

struct gemm_backend {
    const char *name;
    bool (*is_supported)(void); /* by this processor, asked at run time */
    size_t mr;                  /* rows of the register tile, at most */
    size_t nr;                  /* columns of the register tile */
    size_t mc, kc, nc;          /* cache blocks, at most */

    /* panel[k * width + lane] = source[k * stride + lane] for lane < lanes, else 0. */
    void (*pack_lanes)(float *panel, size_t width, size_t lanes, size_t k_count,
                       const float *source, size_t stride);
    /* panel[k * width + lane] = source[lane * stride + k] for lane < lanes, else 0. */
    void (*pack_transposed)(float *panel, size_t width, size_t lanes, size_t k_count,
                            const float *source, size_t stride);

    /* One tile: c(rows, columns) = alpha * a * b + beta * c, rows <= mr, columns <= nr. */
    void (*tile)(size_t rows, size_t columns, size_t k_count, float alpha, const float *a,
                 const float *b, float beta, float *c, size_t c_stride);

    /* rows <= GEMM_FEW_ROWS; A as rows of k values, B not packed.
     * dots: b(j, k) = b[j * b_stride + k]      axpys: b(k, j) = b[k * b_stride + j] */
    void (*dots)(size_t rows, size_t n, size_t k_count, float alpha, const float *a,
                 size_t a_stride, const float *b, size_t b_stride, float beta, float *c,
                 size_t c_stride);
    void (*axpys)(size_t rows, size_t n, size_t k_count, float alpha, const float *a,
                  size_t a_stride, const float *b, size_t b_stride, float beta, float *c,
                  size_t c_stride);
};

extern const struct gemm_backend gemm_backend_portable;
#if defined(__x86_64__)
extern const struct gemm_backend gemm_backend_avx2;
extern const struct gemm_backend gemm_backend_avx512;
#endif

/* All backends of this build, the fastest first; not all need be supported by the processor. */
extern const struct gemm_backend *const gemm_backends[];
extern const size_t gemm_backends_count;

/* The first supported one. */
const struct gemm_backend *gemm_backend_best(void);

/* gemm() with a given backend. `pool` NULL: on the calling thread. */
void gemm_with(const struct gemm_backend *backend, struct pool *pool, size_t m, size_t n, size_t k,
               float alpha, struct gemm_operand a, struct gemm_operand b, float beta, float *c,
               size_t c_stride, void *workspace);

#endif
