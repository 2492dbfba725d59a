/* engines/native/elementary.h - elementary functions and reductions that compilers turn into vector
 * code without -ffast-math.
 */
#ifndef ENGINES_NATIVE_ELEMENTARY_H
#define ENGINES_NATIVE_ELEMENTARY_H

#include <stddef.h>
#include <stdint.h>

#include "engines/native/clones.h"

/* Sixteen floats at any address. Never passed by value: that would tie the ABI to one
 * instruction set. */
typedef float f32x16 __attribute__((vector_size(64), aligned(4), may_alias));
typedef int32_t i32x16 __attribute__((vector_size(64)));
#define F32X16_LANES 16
/* Float sums are kept over at most so many elements before they go into a double. */
#define SUM_BLOCK 1024

/* exp(x) to 2 units in the last place, x first cut to [-87, 88]; NaN stays NaN. Cody-Waite
 * reduction and the polynomial of Cephes (S. Moshier, expf.c). */
ALWAYS_INLINE float exp_f32(float x)
{
    const float round_magic = 12582912.0f; /* 1.5 * 2^23: adding it rounds to an integer */
    x = x < -87.0f ? -87.0f : x;
    x = x > 88.0f ? 88.0f : x;
    union {
        float value;
        uint32_t bits;
    } shifted = {.value = x * 1.44269504f + round_magic}, scale;
    float n = shifted.value - round_magic;
    float r = x - n * 0.693359375f;
    r = r + n * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    float y = p * (r * r) + r + 1.0f;
    scale.bits = (shifted.bits << 23) + (127u << 23);
    return y * scale.value;
}

ALWAYS_INLINE float sigmoid_f32(float x)
{
    return 1.0f / (1.0f + exp_f32(-x));
}

/* Absolute error 2^-22 or so, which is what GELU needs of it. */
ALWAYS_INLINE float tanh_f32(float x)
{
    return 1.0f - 2.0f / (1.0f + exp_f32(2.0f * x));
}

ALWAYS_INLINE float lanes_sum(const f32x16 *lanes)
{
    float half[8];
    for (size_t i = 0; i < 8; i++)
        half[i] = (*lanes)[i] + (*lanes)[i + 8];
    return ((half[0] + half[4]) + (half[2] + half[6])) +
           ((half[1] + half[5]) + (half[3] + half[7]));
}

/* sum of a[i] * b[i] over at most a few thousand elements */
ALWAYS_INLINE float dot_f32(const float *a, const float *b, size_t count)
{
    f32x16 sum0 = {0};
    f32x16 sum1 = {0};
    size_t i = 0;
    for (; i + 2 * F32X16_LANES <= count; i += 2 * F32X16_LANES) {
        sum0 += *(const f32x16 *)(a + i) * *(const f32x16 *)(b + i);
        sum1 += *(const f32x16 *)(a + i + F32X16_LANES) * *(const f32x16 *)(b + i + F32X16_LANES);
    }
    sum0 += sum1;
    float sum = lanes_sum(&sum0);
    for (; i < count; i++)
        sum += a[i] * b[i];
    return sum;
}

ALWAYS_INLINE double sum_f32(const float *a, size_t count)
{
    double total = 0;
    for (size_t begin = 0; begin < count; begin += SUM_BLOCK) {
        size_t end = count - begin < SUM_BLOCK ? count : begin + SUM_BLOCK;
        f32x16 sum = {0};
        size_t i = begin;
        for (; i + F32X16_LANES <= end; i += F32X16_LANES)
            sum += *(const f32x16 *)(a + i);
        float part = lanes_sum(&sum);
        for (; i < end; i++)
            part += a[i];
        total += (double)part;
    }
    return total;
}

/* Sum of squares, in double over blocks. */
ALWAYS_INLINE double squares_f32(const float *a, size_t count)
{
    double total = 0;
    for (size_t begin = 0; begin < count; begin += SUM_BLOCK) {
        size_t length = count - begin < SUM_BLOCK ? count - begin : SUM_BLOCK;
        total += (double)dot_f32(a + begin, a + begin, length);
    }
    return total;
}

/* Largest of count >= 1 values; NaN when it meets one early enough, never a trap. */
ALWAYS_INLINE float max_f32(const float *a, size_t count)
{
    float best = a[0];
    size_t i = 0;
    if (count >= F32X16_LANES) {
        f32x16 lanes = *(const f32x16 *)a;
        for (i = F32X16_LANES; i + F32X16_LANES <= count; i += F32X16_LANES) {
            f32x16 next = *(const f32x16 *)(a + i);
            i32x16 is_greater = next > lanes;
            lanes = (f32x16)(((i32x16)next & is_greater) | ((i32x16)lanes & ~is_greater));
        }
        for (size_t lane = 0; lane < F32X16_LANES; lane++)
            best = lanes[lane] > best ? lanes[lane] : best;
    }
    for (; i < count; i++)
        best = a[i] > best ? a[i] : best;
    return best;
}

/* row = exp(row - shift); returns the sum. */
ALWAYS_INLINE double exp_row_f32(float *row, size_t count, float shift)
{
    double total = 0;
    for (size_t begin = 0; begin < count; begin += SUM_BLOCK) {
        size_t length = count - begin < SUM_BLOCK ? count - begin : SUM_BLOCK;
        float *block = row + begin;
        for (size_t i = 0; i < length; i++)
            block[i] = exp_f32(block[i] - shift);
        total += sum_f32(block, length);
    }
    return total;
}

#endif
