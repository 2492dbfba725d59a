#include "engines/native/dropout.h"

#include <stdbool.h>

#include "base/random.h"
#include "base/status.h"
#include "engines/native/simd_level.h"

#define LANES_PER_WORD 4
#define LANE_BITS      16

#if defined(__x86_64__)
#include <immintrin.h>
#define HAS_AVX512_PATH 1
#define TARGET_AVX512   __attribute__((target("avx512f,avx512vl,avx512bw,avx512dq")))
#else
#define HAS_AVX512_PATH 0
#endif

static uint32_t lane_of(uint64_t word, uint64_t index)
{
    return (uint32_t)(word >> (LANE_BITS * (index % LANES_PER_WORD))) & 0xFFFF;
}

static void apply_scalar(float *values, size_t count, uint64_t key, uint64_t first_index,
                         uint32_t threshold, float scale)
{
    for (size_t i = 0; i < count; i++) {
        uint64_t index = first_index + i;
        uint64_t word = random_at(key, index / LANES_PER_WORD);
        values[i] = lane_of(word, index) >= threshold ? values[i] * scale : 0.0f;
    }
}

#if HAS_AVX512_PATH

#define BLOCK_WORDS 8
#define BLOCK       (BLOCK_WORDS * LANES_PER_WORD)

TARGET_AVX512 static inline __m512i mix_words(__m512i z)
{
    z = _mm512_xor_si512(z, _mm512_srli_epi64(z, 30));
    z = _mm512_mullo_epi64(z, _mm512_set1_epi64((long long)0xBF58476D1CE4E5B9ULL));
    z = _mm512_xor_si512(z, _mm512_srli_epi64(z, 27));
    z = _mm512_mullo_epi64(z, _mm512_set1_epi64((long long)0x94D049BB133111EBULL));
    return _mm512_xor_si512(z, _mm512_srli_epi64(z, 31));
}

/* Whole blocks of 8 words = 32 elements; `first_index` is a multiple of 4. Returns how many
 * elements it did. x86 is little-endian: the 16-bit lanes of the register are in element order. */
TARGET_AVX512 static size_t apply_avx512(float *values, size_t count, uint64_t key,
                                         uint64_t first_index, uint32_t threshold, float scale)
{
    const uint64_t step = 0x9E3779B97F4A7C15ULL;
    uint64_t states[BLOCK_WORDS];
    for (uint64_t i = 0; i < BLOCK_WORDS; i++)
        states[i] = key + (first_index / LANES_PER_WORD + 1 + i) * step;
    __m512i state = _mm512_loadu_si512(states);
    const uint64_t block_step = BLOCK_WORDS * step;
    const __m512i advance = _mm512_set1_epi64((long long)block_step);
    /* lane >= threshold, written as lane > threshold - 1: threshold is 1 .. 65536 here. */
    const __m512i last_dropped = _mm512_set1_epi16((short)(threshold - 1));
    const __m512 factor = _mm512_set1_ps(scale);
    size_t done = 0;
    for (; done + BLOCK <= count; done += BLOCK) {
        __mmask32 kept = _mm512_cmpgt_epu16_mask(mix_words(state), last_dropped);
        state = _mm512_add_epi64(state, advance);
        float *at = values + done;
        _mm512_storeu_ps(
            at, _mm512_maskz_mul_ps((__mmask16)(kept & 0xFFFF), _mm512_loadu_ps(at), factor));
        _mm512_storeu_ps(at + 16, _mm512_maskz_mul_ps((__mmask16)(kept >> 16),
                                                      _mm512_loadu_ps(at + 16), factor));
    }
    return done;
}

static bool has_avx512(void)
{
    return NATIVE_SIMD_LEVEL >= 4 && __builtin_cpu_supports("avx512f") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq");
}

#endif

void dropout_apply(float *values, size_t count, uint64_t key, uint64_t first_index, double rate)
{
    ASSERT(rate >= 0.0 && rate < 1.0);
    uint32_t threshold = (uint32_t)(rate * 65536.0 + 0.5);
    float scale = (float)(1.0 / (1.0 - rate));
    if (rate == 0.0)
        return;
#if HAS_AVX512_PATH
    if (threshold > 0 && has_avx512()) {
        size_t head = (size_t)(-first_index % LANES_PER_WORD);
        if (head > count)
            head = count;
        apply_scalar(values, head, key, first_index, threshold, scale);
        values += head;
        count -= head;
        first_index += head;
        size_t done = apply_avx512(values, count, key, first_index, threshold, scale);
        values += done;
        count -= done;
        first_index += done;
    }
#endif
    apply_scalar(values, count, key, first_index, threshold, scale);
}
