/* Kernels for any processor: vectors of four by the compilers' vector extension, which become
 * SSE2, NEON or plain code. */
#include <string.h>

#include "engines/native/gemm_backend.h"

#define BACKEND gemm_backend_portable
#define NAME    "portable"
#define TARGET
#define LANES    4
#define MR       4
#define NR       8
#define MC       ((size_t)128)
#define KC       ((size_t)256)
#define NC       ((size_t)1024)
#define GROUP    4
#define DOT_ROWS 2

typedef float vector __attribute__((vector_size(LANES * sizeof(float))));

static bool is_supported(void)
{
    return true;
}

static inline vector v_set1(float x)
{
    return (vector){x, x, x, x};
}

static inline vector v_load(const float *from)
{
    vector v;
    memcpy(&v, from, sizeof(v));
    return v;
}

static inline void v_store(float *to, vector v)
{
    memcpy(to, &v, sizeof(v));
}

static inline vector v_load_part(const float *from, size_t count)
{
    float lanes[LANES] = {0.0f};
    for (size_t i = 0; i < count; i++)
        lanes[i] = from[i];
    return v_load(lanes);
}

static inline void v_store_part(float *to, vector v, size_t count)
{
    for (size_t i = 0; i < count; i++)
        to[i] = v[i];
}

static inline vector v_mul(vector a, vector b)
{
    return a * b;
}

static inline vector v_fmadd(vector a, vector b, vector c)
{
    return a * b + c;
}

static inline void v_sum4(vector a, vector b, vector c, vector d, float sums[4])
{
    sums[0] = (a[0] + a[1]) + (a[2] + a[3]);
    sums[1] = (b[0] + b[1]) + (b[2] + b[3]);
    sums[2] = (c[0] + c[1]) + (c[2] + c[3]);
    sums[3] = (d[0] + d[1]) + (d[2] + d[3]);
}

static inline void v_store_transposed(float *to, size_t width, vector rows[GROUP])
{
    for (size_t k = 0; k < LANES; k++)
        v_store(to + k * width, (vector){rows[0][k], rows[1][k], rows[2][k], rows[3][k]});
}

#include "engines/native/gemm_kernels.inc"
