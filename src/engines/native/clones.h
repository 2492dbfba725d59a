/* engines/native/clones.h - one source, several instruction sets.
 *
 * CLONES before a static function with hot elementwise loops compiles it for AVX-512, AVX2 and the
 * baseline and picks by CPUID when the program starts. ALWAYS_INLINE helpers are compiled into each
 * clone.
 */
#ifndef ENGINES_NATIVE_CLONES_H
#define ENGINES_NATIVE_CLONES_H

#include "engines/native/simd_level.h"

/* clang's resolvers of static functions are global symbols, so two files may not clone functions of
 * one name: there the baseline must do. So it must under ThreadSanitizer, which is not there yet
 * when the resolvers run. */
#if !defined(__x86_64__) || defined(__clang__) || __GNUC__ < 12 || defined(__SANITIZE_THREAD__)
#define CLONES
#elif NATIVE_SIMD_LEVEL >= 4
#define CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#elif NATIVE_SIMD_LEVEL >= 3
#define CLONES __attribute__((target_clones("arch=x86-64-v3", "default")))
#else
#define CLONES
#endif

/* Before a loop whose iterations do not depend on each other even where its pointers are equal. */
#if defined(__clang__)
#define INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#elif defined(__GNUC__)
#define INDEPENDENT _Pragma("GCC ivdep")
#else
#define INDEPENDENT
#endif

#define ALWAYS_INLINE static inline __attribute__((always_inline))

#endif
