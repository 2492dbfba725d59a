#include "base/utf8.h"

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

static void append_replaced(struct buf *out, const char *text, bool is_escaped)
{
    const unsigned char *s = (const unsigned char *)text;
    while (*s != '\0') {
        size_t length = utf8_sequence_bytes(s);
        if (length > 0) {
            buf_append(out, s, length);
        } else if (is_escaped) {
            buf_appendf(out, "%%%02X", (unsigned)*s);
        } else {
            buf_append_text(out, "\xEF\xBF\xBD");
        }
        s += length > 0 ? length : 1;
    }
}

void utf8_append_escaped(struct buf *out, const char *text)
{
    append_replaced(out, text, true);
}

void utf8_append_valid(struct buf *out, const char *text)
{
    append_replaced(out, text, false);
}
