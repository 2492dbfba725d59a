#include "base/json_write.h"

#include <inttypes.h>
#include <math.h>
#include <stddef.h>
#include <string.h>

#include "base/num.h"
#include "base/utf8.h"

void json_writer_init(struct json_writer *writer, struct buf *out)
{
    *writer = (struct json_writer){.out = out};
}

/* Writes the comma that the next value needs, if any. */
static void separate(struct json_writer *writer)
{
    if (writer->is_after_key) {
        writer->is_after_key = false;
        return;
    }
    if (writer->depth > 0) {
        if (writer->has_item[writer->depth - 1])
            buf_append_char(writer->out, ',');
        writer->has_item[writer->depth - 1] = true;
    }
}

static void begin(struct json_writer *writer, char bracket)
{
    separate(writer);
    ASSERT(writer->depth < JSON_DEPTH_MAX);
    writer->has_item[writer->depth++] = false;
    buf_append_char(writer->out, bracket);
}

static void end(struct json_writer *writer, char bracket)
{
    ASSERT(writer->depth > 0 && !writer->is_after_key);
    writer->depth--;
    buf_append_char(writer->out, bracket);
}

void json_begin_object(struct json_writer *writer)
{
    begin(writer, '{');
}

void json_end_object(struct json_writer *writer)
{
    end(writer, '}');
}

void json_begin_array(struct json_writer *writer)
{
    begin(writer, '[');
}

void json_end_array(struct json_writer *writer)
{
    end(writer, ']');
}

static void append_escaped(struct buf *out, unsigned char c)
{
    switch (c) {
    case '"': buf_append_text(out, "\\\""); break;
    case '\\': buf_append_text(out, "\\\\"); break;
    case '\n': buf_append_text(out, "\\n"); break;
    case '\r': buf_append_text(out, "\\r"); break;
    case '\t': buf_append_text(out, "\\t"); break;
    default:
        if (c < 0x20 || c == 0x7F)
            buf_appendf(out, "\\u%04x", c);
        else
            buf_append_char(out, (char)c);
    }
}

static bool is_plain(unsigned char c)
{
    return c >= 0x20 && c < 0x7F && c != '"' && c != '\\';
}

/* Bit 7 of each byte of `word` that is under `least` (at most 0x80) is set, and perhaps of some
 * above it that follow one. */
static uint64_t bytes_under(uint64_t word, uint64_t least)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    return (word - ones * least) & ~word;
}

/* How many of the `bytes` need no escape: eight at once, as most texts have none. */
static size_t plain_bytes(const unsigned char *s, size_t bytes)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    size_t plain = 0;
    for (; plain + sizeof(uint64_t) <= bytes; plain += sizeof(uint64_t)) {
        uint64_t word;
        memcpy(&word, s + plain, sizeof(word));
        uint64_t special = word | bytes_under(word, ' ') | bytes_under(word ^ ones * '"', 1) |
                           bytes_under(word ^ ones * '\\', 1) | bytes_under(word ^ ones * 0x7F, 1);
        if ((special & ones * 0x80) != 0)
            break;
    }
    while (plain < bytes && is_plain(s[plain]))
        plain++;
    return plain;
}

static void append_quoted(struct buf *out, const char *text)
{
    buf_append_char(out, '"');
    const unsigned char *s = (const unsigned char *)text;
    const unsigned char *text_end = s + strlen(text);
    while (s < text_end) {
        size_t plain = plain_bytes(s, (size_t)(text_end - s));
        buf_append(out, s, plain);
        s += plain;
        if (s == text_end)
            break;
        size_t length = utf8_sequence_bytes(s);
        if (length == 0) {
            buf_append_text(out, "\xEF\xBF\xBD");
            length = 1;
        } else if (length == 1) {
            append_escaped(out, *s);
        } else {
            buf_append(out, s, length);
        }
        s += length;
    }
    buf_append_char(out, '"');
}

void json_put_key(struct json_writer *writer, const char *key)
{
    ASSERT(writer->depth > 0 && !writer->is_after_key);
    separate(writer);
    append_quoted(writer->out, key);
    buf_append_char(writer->out, ':');
    writer->is_after_key = true;
}

void json_put_string(struct json_writer *writer, const char *text)
{
    separate(writer);
    append_quoted(writer->out, text);
}

void json_put_u64(struct json_writer *writer, uint64_t value)
{
    /* By hand: a block's line has ten thousand of them, and formatting is most of its cost. */
    char digits[20];
    size_t first = sizeof(digits);
    do {
        digits[--first] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    separate(writer);
    buf_append(writer->out, digits + first, sizeof(digits) - first);
}

void json_put_i64(struct json_writer *writer, int64_t value)
{
    separate(writer);
    buf_appendf(writer->out, "%" PRId64, value);
}

void json_put_double(struct json_writer *writer, double value)
{
    if (!isfinite(value)) {
        json_put_null(writer);
        return;
    }
    separate(writer);
    char text[NUM_TEXT_BYTES];
    num_format_double(value, text);
    buf_append_text(writer->out, text);
}

void json_put_bool(struct json_writer *writer, bool value)
{
    separate(writer);
    buf_append_text(writer->out, value ? "true" : "false");
}

void json_put_null(struct json_writer *writer)
{
    separate(writer);
    buf_append_text(writer->out, "null");
}

void json_put_raw(struct json_writer *writer, const char *text)
{
    separate(writer);
    buf_append_text(writer->out, text);
}

void json_field_string(struct json_writer *writer, const char *key, const char *text)
{
    json_put_key(writer, key);
    json_put_string(writer, text);
}

void json_field_u64(struct json_writer *writer, const char *key, uint64_t value)
{
    json_put_key(writer, key);
    json_put_u64(writer, value);
}

void json_field_double(struct json_writer *writer, const char *key, double value)
{
    json_put_key(writer, key);
    json_put_double(writer, value);
}

void json_field_bool(struct json_writer *writer, const char *key, bool value)
{
    json_put_key(writer, key);
    json_put_bool(writer, value);
}

void json_field_null(struct json_writer *writer, const char *key)
{
    json_put_key(writer, key);
    json_put_null(writer);
}

void json_field_raw(struct json_writer *writer, const char *key, const char *text)
{
    json_put_key(writer, key);
    json_put_raw(writer, text);
}
