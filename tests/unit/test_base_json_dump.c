#include <criterion/criterion.h>
#include <jansson.h>
#include <string.h>

#include "base/json_dump.h"

/* What is read from `text` and dumped again, compared with `wanted`. */
static void check(const char *text, const char *wanted)
{
    json_t *value = json_loads(text, JSON_DECODE_ANY, NULL);
    cr_assert_not_null(value, "%s", text);
    struct buf out;
    buf_init(&out, 1 << 16);
    struct json_writer writer;
    json_writer_init(&writer, &out);
    cr_assert(json_dump_value(value, &writer));
    cr_assert_str_eq(out.data, wanted);
    buf_release(&out);
    json_decref(value);
}

Test(base_json_dump, values_are_compact_and_keys_keep_their_order)
{
    check("{ \"b\" : 1 , \"a\" : [ true, false, null, \"x\" ] }",
          "{\"b\":1,\"a\":[true,false,null,\"x\"]}");
    check("{}", "{}");
    check("[]", "[]");
    check("-9223372036854775808", "-9223372036854775808");
}

Test(base_json_dump, doubles_are_short_and_stay_doubles)
{
    check("0.1", "0.1");
    check("0.30000000000000004", "0.30000000000000004");
    check("3.0", "3.0");
    check("1e300", "1e+300");
    check("-0.0", "-0.0");
}

Test(base_json_dump, text_is_escaped_again)
{
    check("\"a\\\"\\\\\\n\\u0001\\u00e9\"", "\"a\\\"\\\\\\n\\u0001\xC3\xA9\"");
    check("{\"k\\\"\":1}", "{\"k\\\"\":1}");
}

/* `levels` arrays or objects in each other, with a number inside. */
static json_t *nest(int levels, bool is_object)
{
    json_t *value = json_integer(7);
    for (int i = 0; i < levels; i++) {
        json_t *outer = is_object ? json_object() : json_array();
        if (is_object)
            json_object_set_new(outer, "", value);
        else
            json_array_append_new(outer, value);
        value = outer;
    }
    return value;
}

Test(base_json_dump, nesting_deeper_than_the_writer_is_refused_untouched)
{
    for (int is_object = 0; is_object < 2; is_object++) {
        struct buf out;
        buf_init(&out, 1 << 16);
        struct json_writer writer;
        json_writer_init(&writer, &out);
        json_t *deep = nest(JSON_DEPTH_MAX + 1, is_object);
        cr_assert_not(json_dump_value(deep, &writer));
        cr_assert_eq(out.length_bytes, 0);
        json_decref(deep);
        json_t *fits = nest(JSON_DEPTH_MAX, is_object);
        cr_assert(json_dump_value(fits, &writer));
        cr_assert_eq(out.length_bytes, (is_object ? 5 : 2) * JSON_DEPTH_MAX + 1);
        buf_reset(&out);
        json_writer_init(&writer, &out);
        json_begin_array(&writer);
        cr_assert_not(json_dump_value(fits, &writer), "one level is in use already");
        json_decref(fits);
        buf_release(&out);
    }
}
