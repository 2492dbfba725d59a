#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "engines/native/dropout.h"

#define COUNT 1000000

static float *new_ones(size_t count)
{
    float *values = malloc(count * sizeof(*values));
    cr_assert_not_null(values);
    for (size_t i = 0; i < count; i++)
        values[i] = 1.0f;
    return values;
}

/* The rule as the header writes it, one element at a time. */
static int is_kept(uint64_t key, uint64_t i, double rate)
{
    uint64_t lane = (random_at(key, i / 4) >> (16 * (i % 4))) & 0xFFFF;
    return (double)lane >= floor(rate * 65536.0 + 0.5);
}

Test(native_dropout, follows_the_written_rule)
{
    const double rates[] = {0.001, 0.1, 0.25, 0.5, 0.9, 0.99};
    for (size_t r = 0; r < sizeof(rates) / sizeof(*rates); r++) {
        for (uint64_t first = 0; first < 9; first++) {
            float values[203];
            for (size_t i = 0; i < 203; i++)
                values[i] = (float)i + 1.0f;
            dropout_apply(values, 203, 42 + r, first + 1000003, rates[r]);
            float scale = (float)(1.0 / (1.0 - rates[r]));
            for (size_t i = 0; i < 203; i++) {
                int kept = is_kept(42 + r, first + 1000003 + i, rates[r]);
                cr_assert_eq(values[i], kept ? ((float)i + 1.0f) * scale : 0.0f);
            }
        }
    }
}

/* Golden values from Python, written against the header, not against this program:
 *   M = 2**64 - 1
 *   def at(key, n):
 *       z = (key + (n + 1) * 0x9E3779B97F4A7C15) & M
 *       z = ((z ^ z >> 30) * 0xBF58476D1CE4E5B9) & M
 *       z = ((z ^ z >> 27) * 0x94D049BB133111EB) & M
 *       return z ^ z >> 31
 *   ''.join('.#'[(at(7, i // 4) >> 16 * (i % 4) & 0xFFFF) >= 32768] for i in range(64))
 */
Test(native_dropout, same_mask_as_python)
{
    const char *expected = "..#..#...#.#..##....###.#.#.#.#..##..##.#.#....##..#.###..###.##";
    float *values = new_ones(64);
    dropout_apply(values, 64, 7, 0, 0.5);
    for (size_t i = 0; i < 64; i++)
        cr_assert_eq(values[i], expected[i] == '#' ? 2.0f : 0.0f, "element %zu", i);
    free(values);
}

/* Five standard deviations of a binomial: a right mask fails once in 1.7 million keys. */
Test(native_dropout, rate_is_met)
{
    const double rates[] = {0.1, 0.5, 0.8};
    for (size_t r = 0; r < 3; r++) {
        for (uint64_t key = 0; key < 4; key++) {
            float *values = new_ones(COUNT);
            dropout_apply(values, COUNT, random_key(99, key), 0, rates[r]);
            size_t dropped = 0;
            for (size_t i = 0; i < COUNT; i++)
                dropped += values[i] == 0.0f;
            double spread = sqrt(COUNT * rates[r] * (1.0 - rates[r]));
            cr_assert_lt(fabs((double)dropped - COUNT * rates[r]), 5.0 * spread);
            free(values);
        }
    }
}

/* 0.001 * 65536 = 65.536: the threshold is 66, so a lane of 65 is dropped. */
Test(native_dropout, threshold_is_rounded)
{
    float *values = new_ones(COUNT);
    dropout_apply(values, COUNT, 12, 0, 0.001);
    for (size_t i = 0; i < COUNT; i++)
        cr_assert_eq(values[i] != 0.0f, is_kept(12, i, 0.001));
    free(values);
}

/* Neighbours are dropped together as often as chance says, inside a word and across words. */
Test(native_dropout, neighbours_are_independent)
{
    float *values = new_ones(COUNT);
    dropout_apply(values, COUNT, 5, 0, 0.1);
    for (size_t distance = 1; distance <= 64; distance *= 2) {
        size_t both = 0;
        for (size_t i = 0; i + distance < COUNT; i++)
            both += values[i] == 0.0f && values[i + distance] == 0.0f;
        cr_assert_lt(fabs((double)both - COUNT * 0.01), 6.0 * sqrt(COUNT * 0.01), "distance %zu",
                     distance);
    }
    free(values);
}

Test(native_dropout, pieces_make_the_same_mask)
{
    float *whole = new_ones(5000);
    float *pieces = new_ones(5000);
    dropout_apply(whole, 5000, 11, 77, 0.3);
    for (size_t begin = 0, length = 1; begin < 5000;
         begin += length, length = length * 2 % 97 + 1) {
        size_t count = length < 5000 - begin ? length : 5000 - begin;
        dropout_apply(pieces + begin, count, 11, 77 + begin, 0.3);
    }
    cr_assert_eq(memcmp(whole, pieces, 5000 * sizeof(float)), 0);
    free(whole);
    free(pieces);
}

Test(native_dropout, keys_make_different_masks)
{
    float *a = new_ones(1000);
    float *b = new_ones(1000);
    dropout_apply(a, 1000, 1, 0, 0.5);
    dropout_apply(b, 1000, 2, 0, 0.5);
    cr_assert_neq(memcmp(a, b, 1000 * sizeof(float)), 0);
    free(a);
    free(b);
}

Test(native_dropout, edges)
{
    float values[64];
    for (size_t i = 0; i < 64; i++)
        values[i] = NAN;
    dropout_apply(values, 64, 3, 0, 0.0);
    for (size_t i = 0; i < 64; i++)
        cr_assert(isnan(values[i])); /* rate 0: untouched */
    dropout_apply(values, 64, 3, 0, 0.5);
    size_t zeros = 0;
    for (size_t i = 0; i < 64; i++)
        zeros += values[i] == 0.0f;
    cr_assert(zeros > 10 && zeros < 54); /* a dropped NaN is 0, a kept one stays */
    dropout_apply(values, 0, 3, 0, 0.5);
    /* the last indices before the counter wraps */
    float ends[8] = {1, 1, 1, 1, 1, 1, 1, 1};
    dropout_apply(ends, 8, 3, UINT64_MAX - 7, 0.5);
    for (size_t i = 0; i < 8; i++)
        cr_assert_eq(ends[i], is_kept(3, UINT64_MAX - 7 + i, 0.5) ? 2.0f : 0.0f);
}
