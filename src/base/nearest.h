/* base/nearest.h - "did you mean": the word that is likely meant, or what there is. */
#ifndef BASE_NEAREST_H
#define BASE_NEAREST_H

#include <stddef.h>

#define NEAREST_HINT_BYTES 320

/* Text of an error message's end. */
struct nearest_hint {
    char text[NEAREST_HINT_BYTES];
};

/* The word that `text` likely means: one that `text` begins with or that begins with `text` (three
 * letters at least), else the one with the least distance, if that is at most a third of the longer
 * one's letters, rounded; the first of equals. NULL where none is near. Borrowed from `words`. */
const char *nearest_word(const char *text, const char *const *words, size_t words_count);
/* "did you mean 'x'?" where a word is near, else "there are a, b, c", cut with "..." where there
 * are many. `before` is put before each word ("--"). Gives hint->text. */
const char *nearest_hint(struct nearest_hint *hint, const char *before, const char *text,
                         const char *const *words, size_t words_count);
/* Letters put in, left out, changed, or swapped with the next (Damerau-Levenshtein, each place
 * once), ASCII case ignored; texts over 128 bytes are compared by their first 128. */
size_t nearest_distance(const char *a, const char *b);

#endif
