#include "base/json_dump.h"

/* Does `value` fit in `levels` levels of nesting? Looks no deeper than that. */
static bool fits(const json_t *value, int levels)
{
    if (!json_is_object(value) && !json_is_array(value))
        return true;
    if (levels <= 0)
        return false;
    for (size_t i = 0; i < json_array_size(value); i++)
        if (!fits(json_array_get(value, i), levels - 1))
            return false;
    const char *key;
    json_t *member;
    json_object_foreach((json_t *)(uintptr_t)value, key, member)
    {
        if (!fits(member, levels - 1))
            return false;
    }
    return true;
}

static void dump(const json_t *value, struct json_writer *writer);

static void dump_object(const json_t *value, struct json_writer *writer)
{
    json_begin_object(writer);
    const char *key;
    json_t *member;
    /* jansson's iterator takes a mutable object although it changes nothing. */
    json_object_foreach((json_t *)(uintptr_t)value, key, member)
    {
        json_put_key(writer, key);
        dump(member, writer);
    }
    json_end_object(writer);
}

static void dump_array(const json_t *value, struct json_writer *writer)
{
    json_begin_array(writer);
    for (size_t i = 0; i < json_array_size(value); i++)
        dump(json_array_get(value, i), writer);
    json_end_array(writer);
}

static void dump(const json_t *value, struct json_writer *writer)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT: dump_object(value, writer); break;
    case JSON_ARRAY: dump_array(value, writer); break;
    case JSON_STRING: json_put_string(writer, json_string_value(value)); break;
    case JSON_INTEGER: json_put_i64(writer, json_integer_value(value)); break;
    case JSON_REAL: json_put_double(writer, json_real_value(value)); break;
    case JSON_TRUE: json_put_bool(writer, true); break;
    case JSON_FALSE: json_put_bool(writer, false); break;
    case JSON_NULL: json_put_null(writer); break;
    }
}

bool json_dump_value(const json_t *value, struct json_writer *writer)
{
    if (!fits(value, JSON_DEPTH_MAX - writer->depth))
        return false;
    dump(value, writer);
    return true;
}
