#include "base/nearest.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define NEAREST_TEXT_MAX   128
#define NEAREST_PREFIX_MIN 3

static bool is_same(char a, char b)
{
    return tolower((unsigned char)a) == tolower((unsigned char)b);
}

size_t nearest_distance(const char *a, const char *b)
{
    size_t a_length = strnlen(a, NEAREST_TEXT_MAX);
    size_t b_length = strnlen(b, NEAREST_TEXT_MAX);
    size_t rows[3][NEAREST_TEXT_MAX + 1] = {{0}};
    for (size_t j = 0; j <= b_length; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= a_length; i++) {
        const size_t *two_before = rows[(i + 1) % 3]; /* read from i == 2 on */
        const size_t *before = rows[(i + 2) % 3];
        size_t *row = rows[i % 3];
        row[0] = i;
        for (size_t j = 1; j <= b_length; j++) {
            size_t best = before[j - 1] + (is_same(a[i - 1], b[j - 1]) ? 0 : 1);
            if (before[j] + 1 < best)
                best = before[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            bool is_swapped =
                i > 1 && j > 1 && is_same(a[i - 1], b[j - 2]) && is_same(a[i - 2], b[j - 1]);
            if (is_swapped && two_before[j - 2] + 1 < best)
                best = two_before[j - 2] + 1;
            row[j] = best;
        }
    }
    return rows[a_length % 3][b_length];
}

/* "--sequence" means seq and "--mem" means memory-limit, whatever their distances are. */
static bool is_prefix_pair(const char *a, const char *b)
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
    size_t text_length = strnlen(text, NEAREST_TEXT_MAX);
    for (size_t i = 0; i < words_count; i++) {
        size_t distance = nearest_distance(text, words[i]);
        size_t length = strnlen(words[i], NEAREST_TEXT_MAX);
        size_t longest = length > text_length ? length : text_length;
        if (!is_prefix_pair(text, words[i])) {
            if (distance > (longest + 1) / 3)
                continue;
            distance += NEAREST_TEXT_MAX;
        }
        if (distance < best_distance) {
            best_distance = distance;
            best = words[i];
        }
    }
    return best;
}

/* Appends as much of the text as there is room for; false when it was cut. */
static bool append(struct nearest_hint *hint, size_t *length, const char *text)
{
    size_t room = sizeof(hint->text) - *length;
    size_t wanted = strlen(text);
    if (wanted >= room)
        return false;
    memcpy(hint->text + *length, text, wanted + 1);
    *length += wanted;
    return true;
}

const char *nearest_hint(struct nearest_hint *hint, const char *before, const char *text,
                         const char *const *words, size_t words_count)
{
    const char *best = nearest_word(text, words, words_count);
    if (best != NULL) {
        (void)snprintf(hint->text, sizeof(hint->text), "did you mean '%s%.128s'?", before, best);
        return hint->text;
    }
    size_t length = 0;
    hint->text[0] = '\0';
    bool is_whole = append(hint, &length, words_count == 1 ? "there is " : "there are ");
    for (size_t i = 0; is_whole && i < words_count; i++) {
        char item[NEAREST_TEXT_MAX + 8];
        (void)snprintf(item, sizeof(item), "%s%s%.128s", i == 0 ? "" : ", ", before, words[i]);
        /* room for the end of a list that is cut */
        is_whole = length + strlen(item) + 6 < sizeof(hint->text) && append(hint, &length, item);
    }
    if (!is_whole)
        (void)append(hint, &length, ", ...");
    return hint->text;
}
