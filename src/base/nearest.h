/* base/nearest.h - "did you mean": the closest of a list of valid words. */
#ifndef BASE_NEAREST_H
#define BASE_NEAREST_H

#include <stddef.h>

/* The word with the least edit distance (ASCII case ignored) to `text`, the first of equals; words
 * that begin with `text`, or that `text` begins with, go before all others. NULL only when
 * `words_count` is 0. Borrowed from `words`. */
const char *nearest_word(const char *text, const char *const *words, size_t words_count);
/* Levenshtein distance, ASCII case ignored; texts over 128 bytes are compared by their first 128.
 */
size_t nearest_distance(const char *a, const char *b);

#endif
