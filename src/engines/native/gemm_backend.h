/* engines/native/gemm_backend.h - what gemm.c needs of a kernel set; for gemm*.c, tests and bench/.
 *
 * Packed forms. A block of B is cut into panels of `nr` columns, zero-filled past the edge of the
 * matrix: element (k, column) at panel[k * nr + column]. A block of A keeps the order it lies in,
 * so that packing only copies: by rows, element (row, k) at block[row * GEMM_A_STRIDE + k]; or,
 * where A is transposed, in panels of `rows` rows: element (row, k) at panel[k * rows + row].
 */
#ifndef ENGINES_NATIVE_GEMM_BACKEND_H
#define ENGINES_NATIVE_GEMM_BACKEND_H

#include <stdint.h>

#include "engines/native/gemm.h"

/* B is streamed as it lies, not packed, for up to this many rows: by dots() and by axpys(). */
#define GEMM_DOT_ROWS  ((size_t)24)
#define GEMM_AXPY_ROWS ((size_t)6)

/* Blocking limits that gemm_workspace_bytes() is made for: every backend's blocks fit. */
#define GEMM_MC_MAX ((size_t)336)
#define GEMM_KC_MAX ((size_t)512)
#define GEMM_NC_MAX ((size_t)1024)
/* Between packed rows of A: an odd number of cache lines, so that equal places in the rows of a
 * tile fall into different cache sets. */
#define GEMM_A_STRIDE (GEMM_KC_MAX + 16)

/* Asks for the cache line at base + offset floats. Packing asks for what it packs next, as weights
 * come from memory and in pieces too short for the processor to guess. The address may lie outside
 * of the matrix, which a prefetch does not mind but pointer arithmetic would. */
static inline void gemm_fetch(const float *base, size_t offset)
{
    __builtin_prefetch((const void *)((uintptr_t)base + offset * sizeof(*base)), 0, 2);
}

/* Borrowed, its name: static. */
struct gemm_backend {
    const char *name;
    bool (*is_supported)(void); /* by this processor, asked at run time */
    size_t mr;                  /* rows of the register tile, at most */
    size_t nr;                  /* columns of the register tile */
    size_t mc, kc, nc;          /* cache blocks, at most */

    /* panel[k * width + lane] = source[k * stride + lane] for lane < lanes, 0 for the rest. */
    void (*pack_lanes)(float *panel, size_t width, size_t lanes, size_t k_count,
                       const float *source, size_t stride);
    /* panel[k * nr + lane] = source[lane * stride + k] for lane < lanes, 0 for the rest. */
    void (*pack_transposed)(float *panel, size_t lanes, size_t k_count, const float *source,
                            size_t stride);

    /* One tile: c(rows, columns) = alpha * a * b + beta * c, rows <= mr, columns <= nr, with A's
     * rows at GEMM_A_STRIDE (tile_by_rows) or in a panel of `rows` (tile_by_lanes). */
    void (*tile_by_rows)(size_t rows, size_t columns, size_t k_count, float alpha, const float *a,
                         const float *b, float beta, float *c, size_t c_stride);
    void (*tile_by_lanes)(size_t rows, size_t columns, size_t k_count, float alpha, const float *a,
                          const float *b, float beta, float *c, size_t c_stride);

    /* A as rows of k values, B not packed: b(j, k) = b[j * b_stride + k] for dots, at most
     * GEMM_DOT_ROWS; b(k, j) = b[k * b_stride + j] for axpys, at most GEMM_AXPY_ROWS. */
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
