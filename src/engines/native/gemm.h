/* engines/native/gemm.h - matmul on the CPU, in single precision.
 *
 *   C(M,N) = alpha * op(A)(M,K) * op(B)(K,N) + beta * C        row-major, strides in elements
 *
 * `data` of an operand is its first element; `stride` is the distance between its stored rows:
 *   a.is_transposed == false: op(A)(i,k) = a.data[i * stride + k]      else a.data[k * stride + i]
 *   b.is_transposed == false: op(B)(k,j) = b.data[k * stride + j]      else b.data[j * stride + k]
 * so that a linear layer y = x * W^T with W stored (out, in) is b = {W, in, true}.
 *
 * The sum over k of every element of C is taken in an order that depends on M, N, K and the backend
 * alone: equal calls give equal bits with any number of threads. beta == 0 does not read C (which
 * may hold NaN). C must not overlap A or B. K == 0 gives beta * C. Nothing is allocated.
 */
#ifndef ENGINES_NATIVE_GEMM_H
#define ENGINES_NATIVE_GEMM_H

#include <stdbool.h>
#include <stddef.h>

#include "engines/native/matrix.h"
#include "engines/native/pool.h"

/* What `workspace` must be aligned to. */
#define GEMM_WORKSPACE_ALIGNMENT 64

/* Operands of the kernels on floats. */
struct gemm_operand {
    const float *data; /* borrowed: for the call */
    size_t stride;
    bool is_transposed;
};

/* op(matrix): the matrix as it is, or transposed. */
struct gemm_factor {
    struct matrix matrix;
    bool is_transposed;
};

/* Enough for any shape with `threads_count` threads (a multiple of GEMM_WORKSPACE_ALIGNMENT). */
size_t gemm_workspace_bytes(unsigned threads_count);

/* c = alpha * op(a) op(b) + beta * c for operands of any dtype that there are kernels for; M, N and
 * K are their shapes', which must fit. Scales of a and b are applied. `workspace`:
 * gemm_workspace_bytes(pool_threads_count(pool)) bytes. Must not be called from inside a pool task;
 * use gemm_serial() there. */
void gemm(struct pool *pool, float alpha, struct gemm_factor a, struct gemm_factor b, float beta,
          struct matrix c, void *workspace);
/* Floats, on the calling thread; `workspace`: gemm_workspace_bytes(1) bytes of its own. */
void gemm_serial(size_t m, size_t n, size_t k, float alpha, struct gemm_operand a,
                 struct gemm_operand b, float beta, float *c, size_t c_stride, void *workspace);

/* Which kernels this processor gets: "avx512", "avx2" or "portable". Static. */
const char *gemm_backend_name(void);

#endif
