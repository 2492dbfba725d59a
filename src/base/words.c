#include "base/words.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

void words_init(struct words *words)
{
    *words = (struct words){0};
}

static void drop_from(struct words *words, size_t first)
{
    for (size_t i = first; i < words->count; i++)
        free(words->items[i]);
    words->count = first;
    if (words->items != NULL)
        words->items[first] = NULL;
}

void words_release(struct words *words)
{
    if (words == NULL)
        return;
    drop_from(words, 0);
    free(words->items);
    words_init(words);
}

enum status words_add(struct words *words, const char *word, struct err *err)
{
    if (words->count == WORDS_MAX)
        return ERR(err, STATUS_LIMIT, "a command of more than %d words", WORDS_MAX);
    if (words->items == NULL)
        words->items = calloc(WORDS_MAX + 1, sizeof(*words->items));
    char *copy = words->items == NULL ? NULL : strdup(word);
    if (copy == NULL)
        return ERR(err, STATUS_NOMEM, "no memory for a command");
    words->items[words->count++] = copy;
    words->items[words->count] = NULL;
    return STATUS_OK;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\v' || c == '\f';
}

/* What is between quotes; *next stands behind the opening quote and is left behind the closing one.
 */
static enum status take_quoted(const char **next, char quote, struct buf *word, struct err *err)
{
    const char *start = *next;
    for (const char *c = start; *c != '\0'; c++) {
        if (*c == quote) {
            *next = c + 1;
            return STATUS_OK;
        }
        bool is_escape =
            quote == '"' && *c == '\\' && c[1] != '\0' && strchr("\"\\$`", c[1]) != NULL;
        if (is_escape)
            c++;
        buf_append_char(word, *c);
    }
    return ERR(err, STATUS_INVALID, "a %c that is not closed, before '%.40s'", quote, start);
}

/* One word; *next stands at its first character and is left behind it. */
static enum status take_word(const char **next, struct buf *word, struct err *err)
{
    enum status status = STATUS_OK;
    while (status == STATUS_OK && **next != '\0' && !is_space(**next)) {
        char c = *(*next)++;
        if (c == '\'' || c == '"') {
            status = take_quoted(next, c, word, err);
        } else if (c == '\\' && **next == '\0') {
            status = ERR(err, STATUS_INVALID, "a backslash at the end of the command");
        } else {
            buf_append_char(word, c == '\\' ? *(*next)++ : c);
        }
    }
    return status;
}

enum status words_split(struct words *words, const char *text, struct err *err)
{
    size_t first = words->count;
    struct buf word;
    buf_init(&word, WORDS_TEXT_MAX);
    enum status status = STATUS_OK;
    for (const char *next = text;;) {
        while (is_space(*next))
            next++;
        if (*next == '\0')
            break;
        buf_reset(&word);
        status = take_word(&next, &word, err);
        if (status == STATUS_OK && word.failed)
            status = ERR(err, STATUS_LIMIT, "a word of more than %d bytes", WORDS_TEXT_MAX);
        if (status == STATUS_OK)
            status = words_add(words, word.data, err);
        if (status != STATUS_OK)
            break;
    }
    if (status != STATUS_OK)
        drop_from(words, first);
    buf_release(&word);
    return status;
}
