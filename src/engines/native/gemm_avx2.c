/* Kernels for processors with AVX2 and FMA. */
#include "engines/native/gemm_backend.h"
#include "engines/native/simd_level.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define BACKEND  gemm_backend_avx2
#define NAME     "avx2"
#define TARGET   __attribute__((target("avx2,fma")))
#define LANES    8
#define MR       6
#define NR       16
#define MC       ((size_t)144)
#define KC       ((size_t)384)
#define NC       ((size_t)1024)
#define GROUP    8
#define DOT_ROWS 2

typedef __m256 vector;

static bool is_supported(void)
{
    return NATIVE_SIMD_LEVEL >= 3 && __builtin_cpu_supports("avx2") &&
           __builtin_cpu_supports("fma");
}

TARGET static inline vector v_set1(float x)
{
    return _mm256_set1_ps(x);
}

TARGET static inline vector v_load(const float *from)
{
    return _mm256_loadu_ps(from);
}

TARGET static inline void v_store(float *to, vector v)
{
    _mm256_storeu_ps(to, v);
}

TARGET static inline __m256i first_lanes(size_t count)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)count),
                              _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

TARGET static inline vector v_load_part(const float *from, size_t count)
{
    return _mm256_maskload_ps(from, first_lanes(count));
}

TARGET static inline void v_store_part(float *to, vector v, size_t count)
{
    _mm256_maskstore_ps(to, first_lanes(count), v);
}

TARGET static inline vector v_mul(vector a, vector b)
{
    return _mm256_mul_ps(a, b);
}

TARGET static inline vector v_fmadd(vector a, vector b, vector c)
{
    return _mm256_fmadd_ps(a, b, c);
}

TARGET static inline void v_sum4(vector a, vector b, vector c, vector d, float sums[4])
{
    vector all = _mm256_hadd_ps(_mm256_hadd_ps(a, b), _mm256_hadd_ps(c, d));
    _mm_storeu_ps(sums, _mm_add_ps(_mm256_castps256_ps128(all), _mm256_extractf128_ps(all, 1)));
}

/* Four rows of 4 x 4 squares, each transposed in its 128-bit half. */
TARGET static inline __attribute__((always_inline)) void transpose_blocks(vector rows[4])
{
    vector low01 = _mm256_unpacklo_ps(rows[0], rows[1]);
    vector high01 = _mm256_unpackhi_ps(rows[0], rows[1]);
    vector low23 = _mm256_unpacklo_ps(rows[2], rows[3]);
    vector high23 = _mm256_unpackhi_ps(rows[2], rows[3]);
    rows[0] = _mm256_shuffle_ps(low01, low23, 0x44);
    rows[1] = _mm256_shuffle_ps(low01, low23, 0xEE);
    rows[2] = _mm256_shuffle_ps(high01, high23, 0x44);
    rows[3] = _mm256_shuffle_ps(high01, high23, 0xEE);
}

TARGET static inline __attribute__((always_inline)) void v_store_transposed(float *to, size_t width,
                                                                            vector rows[GROUP])
{
    transpose_blocks(rows);
    transpose_blocks(rows + 4);
    for (size_t j = 0; j < 4; j++) {
        _mm256_storeu_ps(to + j * width, _mm256_permute2f128_ps(rows[j], rows[4 + j], 0x20));
        _mm256_storeu_ps(to + (4 + j) * width, _mm256_permute2f128_ps(rows[j], rows[4 + j], 0x31));
    }
}

#include "engines/native/gemm_kernels.inc"
#endif
