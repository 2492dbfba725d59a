#include "base/csv.h"

#include <string.h>

void csv_append_quoted(struct buf *out, const char *text)
{
    buf_append_char(out, '"');
    for (const char *part = text;;) {
        size_t length = strcspn(part, "\"");
        buf_append(out, part, length);
        if (part[length] == '\0')
            break;
        buf_append_text(out, "\"\"");
        part += length + 1;
    }
    buf_append_char(out, '"');
}

void csv_append_text(struct buf *out, const char *text)
{
    if (strpbrk(text, "\",\r\n") != NULL)
        csv_append_quoted(out, text);
    else
        buf_append_text(out, text);
}
