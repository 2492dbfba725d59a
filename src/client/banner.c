#include "client/banner.h"

#include <jansson.h>
#include <stdbool.h>
#include <string.h>

#define TRIES_MAX 64 /* a banner full of braces costs no more than that */

static bool is_object_with(const char *text, size_t text_bytes, const char *key)
{
    json_t *object = json_loadb(text, text_bytes, 0, NULL);
    bool has_key = json_object_get(object, key) != NULL;
    json_decref(object);
    return has_key;
}

const char *banner_end(const char *line, size_t line_bytes, const char *key)
{
    const char *end = line + line_bytes;
    const char *next = line_bytes > 0 ? memchr(line, '{', line_bytes) : NULL;
    for (int i = 0; i < TRIES_MAX && next != NULL; i++) {
        if (is_object_with(next, (size_t)(end - next), key))
            return next;
        next = next + 1 < end ? memchr(next + 1, '{', (size_t)(end - next - 1)) : NULL;
    }
    return NULL;
}
