/* engines/native/simd_level.h - the highest instruction set that may be used, as compilers count
 * them: 1 the baseline (SSE2), 3 AVX2, 4 AVX-512. Less than all only in tests/simd.
 */
#ifndef ENGINES_NATIVE_SIMD_LEVEL_H
#define ENGINES_NATIVE_SIMD_LEVEL_H

#ifndef NATIVE_SIMD_LEVEL
#define NATIVE_SIMD_LEVEL 4
#endif

#endif
