/* base/random.h - the one random generator: SplitMix64 in counter mode.
 *
 * value(key, counter) = finalizer(key + (counter + 1) * 0x9E3779B97F4A7C15)   (mod 2^64)
 * with the finalizer of Steele, Lea & Flood, "Fast splittable pseudorandom number generators",
 * OOPSLA 2014. Any value can be made on its own, in any order, on any thread, and again in a
 * backward pass; and every engine, in any language, can make the same tokens in three lines.
 */
#ifndef BASE_RANDOM_H
#define BASE_RANDOM_H

#include <stdint.h>

static inline uint64_t random_mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
    return z ^ (z >> 31);
}

/* The `counter`-th value of the stream `key`. */
static inline uint64_t random_at(uint64_t key, uint64_t counter)
{
    return random_mix(key + (counter + 1) * 0x9E3779B97F4A7C15ULL);
}

/* A key for a sub-stream: chain for more levels, e.g. random_key(random_key(seed, step), row). */
static inline uint64_t random_key(uint64_t parent_key, uint64_t index)
{
    return random_at(parent_key ^ 0xD1B54A32D192ED03ULL, index);
}

/* Uniform in [0, 1), 53 bits. */
static inline double random_unit(uint64_t value)
{
    return (double)(value >> 11) * 0x1p-53;
}

#endif
