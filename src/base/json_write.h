/* base/json_write.h - the one streaming JSON writer; output is compact, on one line.
 *
 * Commas and nesting are kept by the writer. Doubles are written in the shortest form that reads
 * back exactly; NaN and infinities cannot be written (JSON has none): they become null.
 * Strings must be NUL-terminated; bytes that are not valid UTF-8 become U+FFFD, so any worker's
 * log can be quoted. Reading is jansson's job.
 */
#ifndef BASE_JSON_WRITE_H
#define BASE_JSON_WRITE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

#define JSON_DEPTH_MAX 16

struct json_writer {
    struct buf *out; /* borrowed: for the writer's life */
    int depth;
    bool has_item[JSON_DEPTH_MAX];
    bool is_after_key;
};

void json_writer_init(struct json_writer *writer, struct buf *out);

void json_begin_object(struct json_writer *writer);
void json_end_object(struct json_writer *writer);
void json_begin_array(struct json_writer *writer);
void json_end_array(struct json_writer *writer);
void json_put_key(struct json_writer *writer, const char *key);

void json_put_string(struct json_writer *writer, const char *text);
void json_put_u64(struct json_writer *writer, uint64_t value);
void json_put_i64(struct json_writer *writer, int64_t value);
void json_put_double(struct json_writer *writer, double value);
void json_put_bool(struct json_writer *writer, bool value);
void json_put_null(struct json_writer *writer);
/* `text` must be one valid JSON value; it is copied as it is. */
void json_put_raw(struct json_writer *writer, const char *text);

/* key + value in one call */
void json_field_string(struct json_writer *writer, const char *key, const char *text);
void json_field_u64(struct json_writer *writer, const char *key, uint64_t value);
void json_field_double(struct json_writer *writer, const char *key, double value);
void json_field_bool(struct json_writer *writer, const char *key, bool value);
void json_field_null(struct json_writer *writer, const char *key);
void json_field_raw(struct json_writer *writer, const char *key, const char *text);

#endif
