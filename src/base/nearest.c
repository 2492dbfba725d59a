#include "base/nearest.h"

#include <ctype.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

#define NEAREST_TEXT_MAX   128
#define NEAREST_PREFIX_MIN 2

size_t nearest_distance(const char *a, const char *b)
{
    size_t a_length = strnlen(a, NEAREST_TEXT_MAX);
    size_t b_length = strnlen(b, NEAREST_TEXT_MAX);
    size_t row[NEAREST_TEXT_MAX + 1];
    for (size_t j = 0; j <= b_length; j++)
        row[j] = j;
    for (size_t i = 1; i <= a_length; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b_length; j++) {
            int same = tolower((unsigned char)a[i - 1]) == tolower((unsigned char)b[j - 1]);
            size_t best = diagonal + (same ? 0 : 1);
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            diagonal = row[j];
            row[j] = best;
        }
    }
    return row[b_length];
}

/* "--sequence" means seq and "--mem" means memory-limit, whatever their edit distances are. */
static int is_prefix_pair(const char *a, const char *b)
{
    size_t a_length = strlen(a);
    size_t b_length = strlen(b);
    size_t shared = a_length < b_length ? a_length : b_length;
    return shared >= NEAREST_PREFIX_MIN && strncasecmp(a, b, shared) == 0;
}

const char *nearest_word(const char *text, const char *const *words, size_t words_count)
{
    const char *best = NULL;
    size_t best_distance = SIZE_MAX;
    for (size_t i = 0; i < words_count; i++) {
        size_t distance = nearest_distance(text, words[i]);
        if (!is_prefix_pair(text, words[i]))
            distance += NEAREST_TEXT_MAX;
        if (distance < best_distance) {
            best_distance = distance;
            best = words[i];
        }
    }
    return best;
}
