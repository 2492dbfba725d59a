/* One line of JSON: which lines are sound, what the named keys have, texts and numbers, each beside
 * an independent answer (jansson, strtod). */
#include <criterion/criterion.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "result/scan.h"

static const char *const names[] = {"a", "b", "long_name_of_more_than_16_bytes", "caf\xC3\xA9"};
#define NAMES_COUNT ARRAY_COUNT(names)

struct lines {
    struct scanner *scanner;
    char *line; /* with the padding, so that ASan sees a byte that is read too far */
    struct scan_value values[NAMES_COUNT];
    const char *fault;
};

static void lines_open(struct lines *lines)
{
    struct err err = {0};
    *lines = (struct lines){0};
    cr_assert_eq(scanner_new(names, NAMES_COUNT, &lines->scanner, &err), STATUS_OK);
}

static void lines_close(struct lines *lines)
{
    scanner_free(lines->scanner);
    free(lines->line);
}

static bool scan_bytes(struct lines *lines, const char *text, size_t bytes)
{
    free(lines->line);
    lines->line = malloc(bytes + SCAN_PADDING_BYTES);
    memcpy(lines->line, text, bytes);
    memset(lines->line + bytes, '"', SCAN_PADDING_BYTES);
    lines->line[bytes] = '\n';
    lines->fault = NULL;
    bool is_sound = scanner_scan(lines->scanner, lines->line, bytes, lines->values, &lines->fault);
    cr_assert_eq(is_sound, lines->fault == NULL);
    return is_sound;
}

static bool scan(struct lines *lines, const char *text)
{
    return scan_bytes(lines, text, strlen(text));
}

static void expect_text(const struct scan_value *value, const char *expected)
{
    struct buf out;
    buf_init(&out, 1 << 20);
    scan_take_text(value, &out);
    cr_assert_str_eq(out.data, expected);
    buf_release(&out);
}

static void expect_json(const struct scan_value *value, const char *expected)
{
    struct buf out;
    buf_init(&out, 1 << 20);
    scan_take_json(value, &out);
    cr_assert_str_eq(out.data, expected);
    buf_release(&out);
}

Test(result_scan, named_keys_are_found_in_any_order_and_spacing)
{
    struct lines lines;
    lines_open(&lines);
    cr_assert(scan(&lines, "{\"a\":1,\"x\":[1,{\"a\":2}],\"b\":\"two\"}"));
    cr_assert_eq(lines.values[0].kind, SCAN_NUMBER);
    cr_assert_eq(lines.values[0].bytes, 1);
    expect_text(&lines.values[1], "two");
    cr_assert_eq(lines.values[2].kind, SCAN_ABSENT);
    /* Another order, after the scanner has learned the first. */
    cr_assert(scan(&lines, " { \"b\" : null ,\t\"x\" : { \"b\" : 5 } , \"a\" : true } \r"));
    cr_assert_eq(lines.values[0].kind, SCAN_TRUE);
    cr_assert_eq(lines.values[1].kind, SCAN_NULL);
    cr_assert(scan(&lines, "{}"));
    cr_assert_eq(lines.values[0].kind, SCAN_ABSENT);
    cr_assert(scan(&lines, "{\"long_name_of_more_than_16_bytes\":false,\"a\":[]}"));
    cr_assert_eq(lines.values[2].kind, SCAN_FALSE);
    cr_assert_eq(lines.values[0].kind, SCAN_ARRAY);
    /* A key that only begins like a known one, in the same place. */
    cr_assert(scan(&lines, "{\"long_name_of_more_than_16_bytez\":false,\"aa\":[]}"));
    cr_assert_eq(lines.values[2].kind, SCAN_ABSENT);
    cr_assert_eq(lines.values[0].kind, SCAN_ABSENT);
    lines_close(&lines);
}

Test(result_scan, of_a_key_that_is_there_twice_the_last_counts)
{
    struct lines lines;
    lines_open(&lines);
    for (int i = 0; i < 2; i++) {
        cr_assert(scan(&lines, "{\"a\":1,\"b\":2,\"a\":\"three\"}"));
        expect_text(&lines.values[0], "three");
    }
    lines_close(&lines);
}

Test(result_scan, keys_with_escapes_are_the_keys_they_stand_for)
{
    struct lines lines;
    lines_open(&lines);
    cr_assert(scan(&lines, "{\"\\u0061\":1,\"caf\\u00e9\":2}"));
    cr_assert_eq(lines.values[0].kind, SCAN_NUMBER);
    cr_assert_eq(lines.values[3].kind, SCAN_NUMBER);
    cr_assert(scan(&lines, "{\"\\u0061\\u0000\":1}"));
    cr_assert_eq(lines.values[0].kind, SCAN_ABSENT);
    lines_close(&lines);
}

Test(result_scan, what_is_no_json_object_is_refused)
{
    static const char *const bad[] = {
        "",
        "   ",
        "[1]",
        "null",
        "{",
        "{\"a\"",
        "{\"a\":",
        "{\"a\":1",
        "{\"a\":1,",
        "{\"a\":1,}",
        "{,\"a\":1}",
        "{\"a\":1 \"b\":2}",
        "{\"a\" 1}",
        "{a:1}",
        "{'a':1}",
        "{\"a\":tru}",
        "{\"a\":nul}",
        "{\"a\":nan}",
        "{\"a\":+1}",
        "{\"a\":01}",
        "{\"a\":-}",
        "{\"a\":1.}",
        "{\"a\":.5}",
        "{\"a\":1e}",
        "{\"a\":1e+}",
        "{\"a\":0x10}",
        "{\"a\":1_000}",
        "{\"a\":\"\\x41\"}",
        "{\"a\":\"\\u12g4\"}",
        "{\"a\":\"\\u12\"}",
        "{\"a\":\"tab\there\"}",
        "{\"a\":\"open}",
        "{\"a\":\"open\\\"}",
        "{\"a\":[1,2}",
        "{\"a\":{\"b\":1]}",
        "{\"a\":[1,]}",
        "{\"a\":[,1]}",
        "{\"a\":{\"b\"}}",
        "{\"a\":{\"b\":}}",
        "{\"a\":{1:2}}",
        "{\"a\":[1 2]}",
        "{\"a\":[NaN]}",
        "{\"a\":1}}",
        "{\"a\":1}{\"a\":2}",
        "{\"a\":1} x",
        "{\"a\":1,\"b{\"a\":1}",
    };
    struct lines lines;
    lines_open(&lines);
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        cr_assert(scan(&lines, "{\"a\":[1,2],\"b\":{\"c\":1}}"), "the scanner learns a layout");
        cr_assert_not(scan(&lines, bad[i]), "%s", bad[i]);
        cr_assert_neq(lines.fault[0], '\0');
    }
    cr_assert_not(scan_bytes(&lines, "{\"a\":\"\0\"}", 9), "a NUL byte in a string");
    lines_close(&lines);
}

Test(result_scan, nesting_has_a_limit)
{
    struct lines lines;
    struct buf text;
    lines_open(&lines);
    for (size_t depth = SCAN_DEPTH_MAX - 1; depth <= SCAN_DEPTH_MAX + 1; depth++) {
        buf_init(&text, 1 << 20);
        buf_append_text(&text, "{\"a\":");
        for (size_t i = 0; i < depth; i++)
            buf_append_text(&text, i % 2 == 0 ? "[" : "{\"k\":");
        buf_append_text(&text, "1");
        for (size_t i = depth; i-- > 0;)
            buf_append_text(&text, i % 2 == 0 ? "]" : "}");
        buf_append_text(&text, "}");
        cr_assert_eq(scan(&lines, text.data), depth <= SCAN_DEPTH_MAX, "%zu levels", depth);
        if (depth <= SCAN_DEPTH_MAX)
            cr_assert_eq(lines.values[0].depth, depth);
        buf_release(&text);
    }
    lines_close(&lines);
}

Test(result_scan, a_long_run_of_brackets_is_no_work_without_end)
{
    struct lines lines;
    lines_open(&lines);
    char *text = malloc(1 << 20);
    memset(text, '[', 1 << 20);
    memcpy(text, "{\"a\":", 5);
    cr_assert_not(scan_bytes(&lines, text, 1 << 20));
    free(text);
    lines_close(&lines);
}

Test(result_scan, texts_are_unescaped)
{
    static const struct {
        const char *json, *text;
    } cases[] = {
        {"plain", "plain"},
        {"", ""},
        {"\\\"\\\\\\/\\b\\f\\n\\r\\t", "\"\\/\b\f\n\r\t"},
        {"\\u00e9\\u20AC", "\xC3\xA9\xE2\x82\xAC"},
        {"\\ud83d\\ude00!", "\xF0\x9F\x98\x80!"},
        {"\\uD800x", "\xEF\xBF\xBDx"},
        {"\\ude00", "\xEF\xBF\xBD"},
        {"\\ud83d\\u0041", "\xEF\xBF\xBD\x41"},
        {"\\ud83d\\ud83d\\ude00", "\xEF\xBF\xBD\xF0\x9F\x98\x80"},
        {"\\ud83d", "\xEF\xBF\xBD"},
        {"a\\u0000b", "a\xEF\xBF\xBD\x62"},
        {"\xC3\xA9 \xFF \xC3", "\xC3\xA9 \xEF\xBF\xBD \xEF\xBF\xBD"},
        {"\xED\xA0\x80", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"},
        {"a text of more than sixteen bytes \\n and one more of that length",
         "a text of more than sixteen bytes \n and one more of that length"},
    };
    struct lines lines;
    lines_open(&lines);
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        char line[256];
        (void)snprintf(line, sizeof(line), "{\"a\":\"%s\",\"b\":1}", cases[i].json);
        cr_assert(scan(&lines, line), "%s", line);
        expect_text(&lines.values[0], cases[i].text);
    }
    lines_close(&lines);
}

Test(result_scan, json_values_become_compact)
{
    struct lines lines;
    lines_open(&lines);
    cr_assert(scan(&lines, "{\"a\": { \"x\" : [ 1 , 2.50 ,\"s \\\" t\" ] , \"y\":\tnull } ,\"b\":"
                           "[\"\xFF\", {}]}"));
    expect_json(&lines.values[0], "{\"x\":[1,2.50,\"s \\\" t\"],\"y\":null}");
    cr_assert_not(lines.values[0].is_plain);
    expect_json(&lines.values[1], "[\"\xEF\xBF\xBD\",{}]");
    cr_assert(scan(&lines, "{\"a\":\"q\\\"\",\"b\":-1e3}"));
    expect_json(&lines.values[0], "\"q\\\"\"");
    expect_json(&lines.values[1], "-1e3");
    lines_close(&lines);
}

Test(result_scan, an_equal_nested_value_is_what_it_was)
{
    /* The scanner remembers objects and arrays: the same text, a longer one, a shorter one, one
     * that differs in its last byte. */
    static const char *const values[] = {
        "{\"k\":[1,2,3]}", "{\"k\":[1,2,3]}", "{\"k\":[1,2,3],\"l\":4}",
        "{\"k\":[1,2]}",   "{\"k\":[1,2]}",   "[]",
        "{\"k\": [1]}"};
    struct lines lines;
    lines_open(&lines);
    for (size_t i = 0; i < ARRAY_COUNT(values); i++) {
        char line[256];
        (void)snprintf(line, sizeof(line), "{\"x\":%s,\"a\":%s,\"b\":%zu}", values[i], values[i],
                       i);
        cr_assert(scan(&lines, line));
        cr_assert_eq(lines.values[0].bytes, strlen(values[i]));
        cr_assert_eq(strncmp(lines.values[0].text, values[i], strlen(values[i])), 0);
        cr_assert_eq(lines.values[0].is_plain, strchr(values[i], ' ') == NULL);
        cr_assert_eq(lines.values[1].kind, SCAN_NUMBER);
    }
    cr_assert_not(scan(&lines, "{\"x\":{\"k\": [1]}x,\"a\":1}"));
    lines_close(&lines);
}

Test(result_scan, more_keys_and_longer_values_than_it_can_remember)
{
    struct lines lines;
    struct buf text;
    lines_open(&lines);
    buf_init(&text, 1 << 20);
    for (int round = 0; round < 3; round++) {
        buf_reset(&text);
        buf_append_text(&text, "{");
        for (int i = 0; i < 3000; i++)
            buf_appendf(&text, "\"key_number_%d\":[%d,\"%0*d\"],", i, i + round, i % 90, i);
        buf_appendf(&text, "\"a\":%d}", round);
        cr_assert(scan(&lines, text.data));
        cr_assert_eq(scan_take_double(&lines.values[0]), round);
    }
    buf_release(&text);
    lines_close(&lines);
}

static double take_double(struct lines *lines, const char *number)
{
    char line[1024];
    (void)snprintf(line, sizeof(line), "{\"a\":%s}", number);
    cr_assert(scan(lines, line), "%s", number);
    return scan_take_double(&lines->values[0]);
}

Test(result_scan, numbers_are_the_nearest_doubles)
{
    static const char *const numbers[] = {
        "0",
        "-0",
        "-0.0",
        "0.1",
        "1e3",
        "1E+3",
        "1e-3",
        "123456789012345678",
        "9007199254740993",
        "9007199254740992.5",
        "9007199254740993.00000000000000000001",
        "18446744073709551615",
        "18446744073709551616",
        "12345678901234567890123456789",
        "0.000000000000000000000000000123456789012345678",
        "1.7976931348623157e308",
        "4.9e-324",
        "2.2250738585072011e-308",
        "1e-400",
        "1e22",
        "1e23",
        "8.5e27",
        "3.2350718666666670000000000000000000000",
    };
    struct lines lines;
    lines_open(&lines);
    for (size_t i = 0; i < ARRAY_COUNT(numbers); i++) {
        double expected = strtod(numbers[i], NULL);
        double found = take_double(&lines, numbers[i]);
        cr_assert(memcmp(&expected, &found, sizeof(found)) == 0, "%s: %.17g", numbers[i], found);
    }
    cr_assert(isinf(take_double(&lines, "1e999")));
    cr_assert(isinf(take_double(&lines, "-1e99999")));
    for (uint64_t i = 0; i < 100000; i++) {
        char text[64];
        uint64_t bits = random_at(7, i);
        double number;
        memcpy(&number, &bits, sizeof(number));
        if (i % 2 == 0)
            number = (double)(bits >> 40) / 1000.0 + (double)(bits & 0xFFFF) * 1e-9;
        if (!isfinite(number))
            continue;
        (void)snprintf(text, sizeof(text), "%.*g", (int)(14 + i % 6), number);
        cr_assert_eq(take_double(&lines, text), strtod(text, NULL), "%s", text);
    }
    lines_close(&lines);
}

Test(result_scan, whole_numbers_may_be_written_as_others_do)
{
    static const struct {
        const char *text;
        bool is_whole, is_over;
        uint64_t number;
    } cases[] = {
        {"0", true, false, 0},
        {"-0", true, false, 0},
        {"128", true, false, 128},
        {"128.0", true, false, 128},
        {"1e3", true, false, 1000},
        {"1.5e1", true, false, 15},
        {"1200e-2", true, false, 12},
        {"0e999", true, false, 0},
        {"9223372036854775807", true, false, INT64_MAX},
        {"9223372036854775808", true, true, 0},
        {"18446744073709551616", true, true, 0},
        {"123456789012345678901234567890", true, true, 0},
        {"1e400", true, true, 0},
        {"1e99999", true, true, 0},
        {"1.5", false, false, 0},
        {"-1", false, false, 0},
        {"-123456789012345678901234567890", false, false, 0},
        {"1e-3", false, false, 0},
    };
    struct lines lines;
    lines_open(&lines);
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        uint64_t number = 0;
        bool is_over = false;
        (void)take_double(&lines, cases[i].text);
        cr_assert_eq(scan_take_u64(&lines.values[0], &number, &is_over), cases[i].is_whole, "%s",
                     cases[i].text);
        cr_assert_eq(is_over, cases[i].is_over, "%s", cases[i].text);
        if (cases[i].is_whole && !is_over)
            cr_assert_eq(number, cases[i].number, "%s", cases[i].text);
    }
    lines_close(&lines);
}

Test(result_scan, what_python_writes_for_not_finite_is_known)
{
    struct lines lines;
    lines_open(&lines);
    cr_assert(scan(&lines, "{\"a\":NaN,\"b\":-Infinity,\"x\":Infinity}"));
    cr_assert_eq(lines.values[0].kind, SCAN_NOT_FINITE);
    cr_assert_eq(lines.values[1].kind, SCAN_NOT_FINITE);
    cr_assert_not(scan(&lines, "{\"a\":NaNs}"));
    cr_assert_not(scan(&lines, "{\"a\":-Infinite}"));
    lines_close(&lines);
}

Test(result_scan, a_nested_object_is_scanned_too)
{
    struct lines lines;
    struct scan_value inner[NAMES_COUNT];
    lines_open(&lines);
    cr_assert(scan(&lines, "{\"a\":{\"b\":\"x\",\"c\":1}}"));
    struct scanner *scanner = NULL;
    cr_assert_eq(scanner_new(names, NAMES_COUNT, &scanner, NULL), STATUS_OK);
    scanner_scan_nested(scanner, &lines.values[0], inner);
    expect_text(&inner[1], "x");
    cr_assert_eq(inner[0].kind, SCAN_ABSENT);
    scanner_free(scanner);
    lines_close(&lines);
}

/* Every byte of a sound line changed, dropped or doubled: the scanner and jansson agree. */
Test(result_scan, agrees_with_jansson_on_lines_that_are_a_little_wrong)
{
    static const char sound[] =
        "{\"a\":-1.5e3,\"s\":\"x\\u00e9\\n\",\"o\":{\"k\":[1,{},[],null,true]},\"b\":false}";
    struct lines lines;
    lines_open(&lines);
    for (size_t at = 0; at < sizeof(sound) - 1; at++) {
        static const char others[] = "\"\\{}[],:0-.eEnu \x01\xFF";
        for (size_t i = 0; i < sizeof(others) + 1; i++) {
            char line[sizeof(sound) + 1];
            size_t bytes = sizeof(sound) - 1;
            memcpy(line, sound, sizeof(sound));
            if (i < sizeof(others) - 1) {
                line[at] = others[i];
            } else if (i == sizeof(others) - 1) {
                memmove(line + at, line + at + 1, bytes - at);
                bytes--;
            } else {
                memmove(line + at + 1, line + at, bytes - at);
                bytes++;
            }
            json_t *object = json_loadb(line, bytes, JSON_ALLOW_NUL, NULL);
            bool is_scanned = scan_bytes(&lines, line, bytes);
            /* jansson refuses bytes that are not UTF-8 and halves of surrogate pairs. */
            if (memchr(line, 0xFF, bytes) == NULL && memmem(line, bytes, "\\ud", 3) == NULL)
                cr_assert_eq(is_scanned, json_is_object(object), "%.*s", (int)bytes, line);
            json_decref(object);
        }
    }
    lines_close(&lines);
}
