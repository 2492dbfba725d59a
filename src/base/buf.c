#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUF_FIRST_BYTES 256

static char empty_text[1] = "";

void buf_init(struct buf *buf, size_t max_bytes)
{
    *buf = (struct buf){.data = empty_text, .max_bytes = max_bytes};
}

void buf_release(struct buf *buf)
{
    if (buf->data != empty_text)
        free(buf->data);
    buf_init(buf, buf->max_bytes);
}

void buf_reset(struct buf *buf)
{
    buf->length_bytes = 0;
    buf->failed = false;
    if (buf->data != empty_text && buf->data != NULL)
        buf->data[0] = '\0';
}

static bool grow(struct buf *buf, size_t need)
{
    size_t capacity = buf->capacity_bytes < BUF_FIRST_BYTES ? BUF_FIRST_BYTES : buf->capacity_bytes;
    while (capacity < need)
        capacity *= 2;
    char *data = realloc(buf->data == empty_text ? NULL : buf->data, capacity);
    if (data == NULL) {
        buf->failed = true;
        return false;
    }
    buf->data = data;
    buf->capacity_bytes = capacity;
    return true;
}

/* Makes room for `extra` more bytes and the NUL. */
static inline bool reserve(struct buf *buf, size_t extra)
{
    if (buf->failed || extra > buf->max_bytes - buf->length_bytes) {
        buf->failed = true;
        return false;
    }
    size_t need = buf->length_bytes + extra + 1;
    return need <= buf->capacity_bytes || grow(buf, need);
}

void buf_append(struct buf *buf, const void *bytes, size_t bytes_count)
{
    if (bytes_count == 0 || !reserve(buf, bytes_count))
        return;
    memcpy(buf->data + buf->length_bytes, bytes, bytes_count);
    buf->length_bytes += bytes_count;
    buf->data[buf->length_bytes] = '\0';
}

void buf_append_text(struct buf *buf, const char *text)
{
    buf_append(buf, text, strlen(text));
}

void buf_appendf(struct buf *buf, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    va_list again;
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (length >= 0 && reserve(buf, (size_t)length)) {
        (void)vsnprintf(buf->data + buf->length_bytes, (size_t)length + 1, format, again);
        buf->length_bytes += (size_t)length;
    } else {
        buf->failed = true;
    }
    va_end(again);
}

void buf_consume(struct buf *buf, size_t bytes_count)
{
    ASSERT(bytes_count <= buf->length_bytes);
    if (bytes_count == 0)
        return;
    memmove(buf->data, buf->data + bytes_count, buf->length_bytes - bytes_count + 1);
    buf->length_bytes -= bytes_count;
}
