/* base/buf.h - a growing byte buffer with a hard maximum.
 *
 * `data` is always NUL-terminated and never NULL after buf_init(). Once an append would pass
 * `max_bytes` (or memory ends), the buffer stays as it was and `failed` is set; later appends do
 * nothing. So a writer appends freely and checks `failed` once.
 */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"

struct buf {
    char *data;          /* owned */
    size_t length_bytes; /* without the NUL */
    size_t capacity_bytes;
    size_t max_bytes;
    bool failed;
};

/* Does not allocate. `max_bytes` counts content, not the NUL. */
void buf_init(struct buf *buf, size_t max_bytes);
/* No-op on a zeroed or released buffer; leaves it empty and reusable. */
void buf_release(struct buf *buf);
/* Empties without freeing and clears `failed`. */
void buf_reset(struct buf *buf);

void buf_append(struct buf *buf, const void *bytes, size_t bytes_count);
void buf_append_text(struct buf *buf, const char *text);
void buf_appendf(struct buf *buf, const char *format, ...) PRINTF_LIKE(2, 3);
/* Inline: texts are written a character at a time in many places. */
static inline void buf_append_char(struct buf *buf, char c)
{
    if (buf->failed || buf->length_bytes + 1 >= buf->capacity_bytes ||
        buf->length_bytes >= buf->max_bytes) {
        buf_append(buf, &c, 1);
        return;
    }
    buf->data[buf->length_bytes++] = c;
    buf->data[buf->length_bytes] = '\0';
}
/* Drops the first `bytes_count` bytes. */
void buf_consume(struct buf *buf, size_t bytes_count);

#endif
