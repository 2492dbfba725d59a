/* engines/native/dropout.h - dropout whose mask can be made again from two numbers.
 *
 * The mask is a pure function of (key, i), so a backward pass makes it again instead of keeping it,
 * and any engine can reproduce it. With random_at() of base/random.h and integer arithmetic:
 *   word(i)    = random_at(key, i / 4)
 *   lane(i)    = (word(i) >> (16 * (i mod 4))) & 0xFFFF
 *   threshold  = floor(rate * 65536 + 0.5)
 *   element i is kept if lane(i) >= threshold
 * A kept value is multiplied by (float)(1 / (1 - rate)), a dropped one becomes 0 (even if it was
 * infinite or NaN). The rate is met to 2^-17.
 */
#ifndef ENGINES_NATIVE_DROPOUT_H
#define ENGINES_NATIVE_DROPOUT_H

#include <stddef.h>
#include <stdint.h>

/* Applies the mask of elements first_index .. first_index + count - 1 to `values`. `rate` is in
 * [0, 1); 0 leaves the values as they are. Forward and backward are the same call. Splitting a
 * range into pieces (by thread, by row) gives the same values. */
void dropout_apply(float *values, size_t count, uint64_t key, uint64_t first_index, double rate);

#endif
