/* result/scan_bytes.h - where a JSON value ends: the inner loops of result/scan.h.
 *
 * All functions take a place in a line that '\n' ends (SCAN_PADDING_BYTES): '\n' is no part of any
 * value, so each stops there without looking at the line's length. They return the place behind the
 * value, or NULL with *fault set to a static text.
 */
#ifndef RESULT_SCAN_BYTES_H
#define RESULT_SCAN_BYTES_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

static inline const char *scan_space_end(const char *at)
{
    while (*at == ' ' || *at == '\t' || *at == '\r')
        at++;
    return at;
}

/* The first quote, backslash or control character. */
static inline const char *scan_find_special(const char *at)
{
#ifdef __SSE2__
    const __m128i quote = _mm_set1_epi8('"');
    const __m128i backslash = _mm_set1_epi8('\\');
    const __m128i control = _mm_set1_epi8(0x1f);
    for (;; at += 16) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)at);
        __m128i is_control = _mm_cmpeq_epi8(_mm_min_epu8(bytes, control), bytes);
        __m128i is_mark =
            _mm_or_si128(_mm_cmpeq_epi8(bytes, quote), _mm_cmpeq_epi8(bytes, backslash));
        int mask = _mm_movemask_epi8(_mm_or_si128(is_control, is_mark));
        if (mask != 0)
            return at + __builtin_ctz((unsigned)mask);
    }
#else
    while (*at != '"' && *at != '\\' && (unsigned char)*at >= 0x20)
        at++;
    return at;
#endif
}

/* Are the eight bytes all decimal digits? */
static inline bool scan_has_8_digits(const char *at)
{
    uint64_t word;
    memcpy(&word, at, sizeof(word));
    return ((word & 0xF0F0F0F0F0F0F0F0ULL) |
            (((word + 0x0606060606060606ULL) & 0xF0F0F0F0F0F0F0F0ULL) >> 4)) ==
           0x3333333333333333ULL;
}

static inline const char *scan_digits_end(const char *at)
{
    while (scan_has_8_digits(at))
        at += 8;
    while (*at >= '0' && *at <= '9')
        at++;
    return at;
}

/* `at`: the byte behind the opening quote. */
const char *scan_escaped_string_end(const char *at, const char **fault);

static inline const char *scan_string_end(const char *at, bool *ret_is_plain, const char **fault)
{
    const char *end = scan_find_special(at);
    *ret_is_plain = *end == '"';
    return *end == '"' ? end + 1 : scan_escaped_string_end(end, fault);
}

/* A string, number, true, false or null. *ret_is_plain: a string without escapes, a number that is
 * all digits. */
const char *scan_scalar_end(const char *at, bool *ret_is_plain, const char **fault);

/* An object or array, `at` its bracket. *ret_is_plain: no space between its parts. *ret_depth: its
 * levels, itself included. */
const char *scan_nested_end(const char *at, bool *ret_is_plain, uint16_t *ret_depth,
                            const char **fault);

#endif
