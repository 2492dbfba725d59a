#include "base/wrap.h"

#include <string.h>

void wrap_text(const char *text, size_t columns, size_t column, size_t indent, struct buf *out)
{
    bool is_line_begun = false;
    while (*text != '\0') {
        if (*text == '\n') {
            buf_appendf(out, "\n\n%*s", (int)indent, "");
            text += strspn(text, "\n");
            column = indent;
            is_line_begun = false;
            continue;
        }
        size_t length = strcspn(text, " \n");
        if (is_line_begun && columns > 0 && column + 1 + length > columns) {
            buf_appendf(out, "\n%*s", (int)indent, "");
            column = indent;
            is_line_begun = false;
        }
        if (is_line_begun) {
            buf_append_char(out, ' ');
            column++;
        }
        buf_append(out, text, length);
        column += length;
        is_line_begun = true;
        text += length;
        text += strspn(text, " ");
    }
    buf_append_char(out, '\n');
}
