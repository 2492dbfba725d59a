#include "base/utf8.h"

#include <stdint.h>
#include <string.h>

size_t utf8_sequence_bytes(const unsigned char *s)
{
    if (s[0] < 0x80)
        return 1;
    size_t length = s[0] >= 0xF0 ? 4 : s[0] >= 0xE0 ? 3 : 2;
    if (s[0] < 0xC2 || s[0] > 0xF4)
        return 0;
    for (size_t i = 1; i < length; i++)
        if ((s[i] & 0xC0) != 0x80)
            return 0;
    if ((s[0] == 0xE0 && s[1] < 0xA0) || (s[0] == 0xED && s[1] > 0x9F) ||
        (s[0] == 0xF0 && s[1] < 0x90) || (s[0] == 0xF4 && s[1] > 0x8F))
        return 0;
    return length;
}

bool utf8_is_valid(const char *text)
{
    const unsigned char *s = (const unsigned char *)text;
    size_t length = 1;
    for (; *s != '\0' && length > 0; s += length)
        length = utf8_sequence_bytes(s);
    return length > 0;
}

/* Bytes from 0x01 to 0x7F at the start of `s`. */
static size_t ascii_bytes(const unsigned char *s, size_t bytes)
{
    size_t i = 0;
    uint64_t word;
    for (; i + sizeof(word) <= bytes; i += sizeof(word)) {
        memcpy(&word, s + i, sizeof(word));
        /* A byte of 0 borrows from its highest bit, which then shows as that of a byte over 0x7F.
         */
        if (((word | (word - 0x0101010101010101ULL)) & 0x8080808080808080ULL) != 0)
            break;
    }
    while (i < bytes && s[i] != 0 && s[i] < 0x80)
        i++;
    return i;
}

static void append_replaced(struct buf *out, const char *text, size_t text_bytes, bool is_escaped)
{
    const unsigned char *s = (const unsigned char *)text;
    const unsigned char *end = s + text_bytes;
    while (s < end) {
        size_t length = ascii_bytes(s, (size_t)(end - s));
        if (length == 0 && *s != 0)
            length = utf8_sequence_bytes(s);
        if (length > (size_t)(end - s))
            length = 0;
        if (length > 0)
            buf_append(out, s, length);
        else if (is_escaped)
            buf_appendf(out, "%%%02X", (unsigned)*s);
        else
            buf_append_text(out, "\xEF\xBF\xBD");
        s += length > 0 ? length : 1;
    }
}

size_t utf8_columns(const char *text)
{
    size_t columns = 0;
    while (*text != '\0') {
        size_t bytes = utf8_sequence_bytes((const unsigned char *)text);
        text += bytes > 0 ? bytes : 1;
        columns++;
    }
    return columns;
}

void utf8_append_escaped(struct buf *out, const char *text)
{
    append_replaced(out, text, strlen(text), true);
}

void utf8_append_valid_bytes(struct buf *out, const char *text, size_t text_bytes)
{
    append_replaced(out, text, text_bytes, false);
}

void utf8_append_valid(struct buf *out, const char *text)
{
    append_replaced(out, text, strlen(text), false);
}
