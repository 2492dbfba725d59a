#include "report/texts.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

#define BLOCK_BYTES ((size_t)64 << 10)

struct texts_block {
    struct texts_block *next; /* owned */
    char bytes[BLOCK_BYTES];
};

void texts_release(struct report_texts *texts)
{
    while (texts->blocks != NULL) {
        struct texts_block *next = texts->blocks->next;
        free(texts->blocks);
        texts->blocks = next;
    }
    *texts = (struct report_texts){0};
}

static char *reserve(struct report_texts *texts, size_t bytes)
{
    if (texts->blocks == NULL || texts->used_bytes + bytes > BLOCK_BYTES) {
        struct texts_block *block = malloc(sizeof(*block));
        if (block == NULL)
            return NULL;
        block->next = texts->blocks;
        texts->blocks = block;
        texts->used_bytes = 0;
    }
    char *place = texts->blocks->bytes + texts->used_bytes;
    texts->used_bytes += bytes;
    return place;
}

const char *texts_keep(struct report_texts *texts, const char *text)
{
    struct buf line CLEANUP(buf_release) = {0};
    if (text[0] == '\0')
        return "";
    buf_init(&line, 4 * (size_t)TEXTS_BYTES_MAX);
    size_t bytes = strnlen(text, TEXTS_BYTES_MAX);
    while (text[bytes] != '\0' && bytes > 0 && ((unsigned char)text[bytes] & 0xc0) == 0x80)
        bytes--; /* not in the middle of a character */
    utf8_append_valid_bytes(&line, text, bytes);
    for (char *c = line.data; *c != '\0'; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = ' ';
    char *place = line.failed ? NULL : reserve(texts, line.length_bytes + 1);
    texts->failed |= place == NULL;
    return place == NULL ? "" : memcpy(place, line.data, line.length_bytes + 1);
}

const char *texts_keepf(struct report_texts *texts, const char *format, ...)
{
    char text[TEXTS_BYTES_MAX];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    return length < 0 ? "" : texts_keep(texts, text);
}
