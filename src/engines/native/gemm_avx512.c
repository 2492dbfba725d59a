/* Kernels for processors with AVX-512 (F, VL, BW, DQ). */
#include "engines/native/gemm_backend.h"
#include "engines/native/simd_level.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define BACKEND  gemm_backend_avx512
#define NAME     "avx512"
#define TARGET   __attribute__((target("avx512f,avx512vl,avx512bw,avx512dq,avx2,fma")))
#define LANES    16
#define MR       14
#define NR       32
#define MC       ((size_t)168)
#define KC       ((size_t)384)
#define NC       ((size_t)1024)
#define GROUP    8
#define DOT_ROWS 4

typedef __m512 vector;

static bool is_supported(void)
{
    return NATIVE_SIMD_LEVEL >= 4 && __builtin_cpu_supports("avx512f") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("fma");
}

TARGET static inline vector v_set1(float x)
{
    return _mm512_set1_ps(x);
}

TARGET static inline vector v_load(const float *from)
{
    return _mm512_loadu_ps(from);
}

TARGET static inline void v_store(float *to, vector v)
{
    _mm512_storeu_ps(to, v);
}

TARGET static inline __mmask16 first_lanes(size_t count)
{
    return (__mmask16)((1u << count) - 1);
}

TARGET static inline vector v_load_part(const float *from, size_t count)
{
    return _mm512_maskz_loadu_ps(first_lanes(count), from);
}

TARGET static inline void v_store_part(float *to, vector v, size_t count)
{
    _mm512_mask_storeu_ps(to, first_lanes(count), v);
}

TARGET static inline vector v_mul(vector a, vector b)
{
    return _mm512_mul_ps(a, b);
}

TARGET static inline vector v_fmadd(vector a, vector b, vector c)
{
    return _mm512_fmadd_ps(a, b, c);
}

TARGET static inline __m128 fold(vector v)
{
    __m256 half = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    return _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
}

TARGET static inline void v_sum4(vector a, vector b, vector c, vector d, float sums[4])
{
    _mm_storeu_ps(sums, _mm_hadd_ps(_mm_hadd_ps(fold(a), fold(b)), _mm_hadd_ps(fold(c), fold(d))));
}

/* Four rows of 4 x 4 squares: after this rows[j] holds, in 128-bit block b, what was column
 * 4 * b + j of the four. */
TARGET static inline __attribute__((always_inline)) void transpose_blocks(vector rows[4])
{
    vector low01 = _mm512_unpacklo_ps(rows[0], rows[1]);
    vector high01 = _mm512_unpackhi_ps(rows[0], rows[1]);
    vector low23 = _mm512_unpacklo_ps(rows[2], rows[3]);
    vector high23 = _mm512_unpackhi_ps(rows[2], rows[3]);
    rows[0] = _mm512_shuffle_ps(low01, low23, 0x44);
    rows[1] = _mm512_shuffle_ps(low01, low23, 0xEE);
    rows[2] = _mm512_shuffle_ps(high01, high23, 0x44);
    rows[3] = _mm512_shuffle_ps(high01, high23, 0xEE);
}

/* Eight rows, not sixteen: with strides that are powers of two, as weights have, all rows fall into
 * one set of the first-level cache, and it has eight ways. */
TARGET static inline __attribute__((always_inline)) void v_store_transposed(float *to, size_t width,
                                                                            vector rows[GROUP])
{
    transpose_blocks(rows);
    transpose_blocks(rows + 4);
    /* Step 4 * b + j is block b of rows[j] and of rows[4 + j]; each result has two steps. */
    const __m512i first = _mm512_setr_epi32(0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23);
    const __m512i second =
        _mm512_setr_epi32(8, 9, 10, 11, 24, 25, 26, 27, 12, 13, 14, 15, 28, 29, 30, 31);
    for (size_t j = 0; j < 4; j++) {
        vector steps01 = _mm512_permutex2var_ps(rows[j], first, rows[4 + j]);
        vector steps23 = _mm512_permutex2var_ps(rows[j], second, rows[4 + j]);
        _mm256_storeu_ps(to + j * width, _mm512_castps512_ps256(steps01));
        _mm256_storeu_ps(to + (4 + j) * width, _mm512_extractf32x8_ps(steps01, 1));
        _mm256_storeu_ps(to + (8 + j) * width, _mm512_castps512_ps256(steps23));
        _mm256_storeu_ps(to + (12 + j) * width, _mm512_extractf32x8_ps(steps23, 1));
    }
}

#include "engines/native/gemm_kernels.inc"
#endif
