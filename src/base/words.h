/* base/words.h - a command line as text to a list of words, as a shell splits words but without a
 * shell: nothing is expanded and no character but quotes, backslash and white space is special.
 *
 *   white space     separates words
 *   'text'          taken as it is
 *   "text"          taken as it is, but \" \\ \$ \` stand for the second character
 *   \c              outside quotes: the character c
 */
#ifndef BASE_WORDS_H
#define BASE_WORDS_H

#include <stddef.h>

#include "base/status.h"

#define WORDS_MAX      256
#define WORDS_TEXT_MAX 65536

struct words {
    char **items; /* owned, each too; NULL behind the last, so it serves as an argument vector */
    size_t count;
};

void words_init(struct words *words);
void words_release(struct words *words);
/* Adds the words of `text` (maybe none). STATUS_INVALID for a quote that is not closed or a
 * backslash at the end; STATUS_LIMIT for more than WORDS_MAX words. On failure `words` is as it
 * was. */
MUST_CHECK enum status words_split(struct words *words, const char *text, struct err *err);
/* Adds one word as it is. */
MUST_CHECK enum status words_add(struct words *words, const char *word, struct err *err);

#endif
