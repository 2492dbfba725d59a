#include <criterion/criterion.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json_write.h"
#include "base/num.h"
#include "base/random.h"

Test(base_num, double_text_reads_back_exactly)
{
    const double values[] = {0.0, 0.1, 1.0 / 3.0, 1e300, 5e-324, -2.5, 123456789.0, 1e15};
    for (size_t i = 0; i < ARRAY_COUNT(values); i++) {
        char text[NUM_TEXT_BYTES];
        num_format_double(values[i], text);
        cr_assert_eq(strtod(text, NULL), values[i], "%s", text);
    }
    char text[NUM_TEXT_BYTES];
    num_format_double(0.1, text);
    cr_assert_str_eq(text, "0.1");
    num_format_double(3.0, text);
    cr_assert_str_eq(text, "3.0");
}

/* The text is the shortest of %.15g to %.17g that reads back, also where it is made by hand. */
Test(base_num, doubles_are_written_as_printf_would)
{
    for (uint64_t i = 0; i < 200000; i++) {
        double digits = i < 46 ? 0 : (double)(random_at(14, i) >> (12 + i % 52));
        double value = (i % 2 == 0 ? 1 : -1) * digits / pow(10, (double)(i % 23));
        char text[NUM_TEXT_BYTES];
        char expected[NUM_TEXT_BYTES];
        for (int places = 15; places <= 17; places++) {
            (void)snprintf(expected, sizeof(expected), "%.*g", places, value);
            if (strtod(expected, NULL) == value)
                break;
        }
        if (strcspn(expected, ".eE") == strlen(expected))
            (void)strncat(expected, ".0", sizeof(expected) - strlen(expected) - 1);
        num_format_double(value, text);
        cr_assert_str_eq(text, expected);
    }
}

Test(base_num, hostile_integers_are_refused_with_the_nearest_value)
{
    const char *const bad[] = {
        "",   "0",  "-1",  "abc", "12x", "1000000000000", "99999999999999999999999",
        " 5", "+5", "0x10"};
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        struct err err = {0};
        uint64_t value = 77;
        cr_assert_neq(num_parse_u64(bad[i], 1, 4096, &value, &err), STATUS_OK, "%s", bad[i]);
        cr_assert_eq(value, 77);
        cr_assert(err.text[0] != '\0');
    }
    struct err err = {0};
    uint64_t value = 0;
    cr_assert_eq(num_parse_u64("1000000000000", 1, 4096, &value, &err), STATUS_INVALID);
    cr_assert(strstr(err.text, "4096") != NULL, "%s", err.text);
}

Test(base_num, json_strings_stay_valid_whatever_bytes_come)
{
    struct buf out;
    buf_init(&out, 1 << 16);
    struct json_writer writer;
    json_writer_init(&writer, &out);
    json_begin_object(&writer);
    json_field_string(&writer, "a\"b", "x\n\x01\xff\xc3\xa9\xed\xa0\x80\\");
    json_field_double(&writer, "nan", 0.0 / 0.0);
    json_end_object(&writer);
    json_error_t error;
    json_t *object = json_loadb(out.data, out.length_bytes, 0, &error);
    cr_assert_not_null(object, "%s: %s", out.data, error.text);
    cr_assert(json_is_null(json_object_get(object, "nan")));
    json_decref(object);
    buf_release(&out);
}

/* Texts are looked at eight bytes at once: every character at every place of such a word, and after
 * one that needs an escape itself. */
Test(base_num, json_strings_escape_every_character_wherever_it_stands)
{
    struct buf out;
    buf_init(&out, 1 << 16);
    for (int c = 1; c < 0x80; c++) {
        for (size_t at = 0; at < 19; at++) {
            char text[] = "abcdefghijklmnopqrs";
            struct json_writer writer;
            text[at] = (char)c;
            if (at > 0)
                text[at - 1] = at % 2 == 0 ? '"' : 'x';
            buf_reset(&out);
            json_writer_init(&writer, &out);
            json_put_string(&writer, text);
            json_t *back = json_loadb(out.data, out.length_bytes, JSON_DECODE_ANY, NULL);
            cr_assert_str_eq(json_string_value(back), text, "%d at %zu: %s", c, at, out.data);
            if (c < 0x20 || c == 0x7F)
                cr_assert_null(strchr(out.data, c), "%d stands as it is: %s", c, out.data);
            json_decref(back);
        }
    }
    buf_release(&out);
}

Test(base_num, bytes_are_binary_whatever_the_unit_is_called)
{
    static const char *const two[] = {"2147483648", "2147483648B", "2G",   "2GB",
                                      "2GiB",       "2gb",         "2048m"};
    for (size_t i = 0; i < ARRAY_COUNT(two); i++) {
        uint64_t bytes = 0;
        struct err err = {0};
        cr_assert_eq(num_parse_bytes(two[i], &bytes, &err), STATUS_OK, "%s", err.text);
        cr_assert_eq(bytes, 2ULL << 30, "%s", two[i]);
    }
    static const char *const wrong[] = {"2GBB", "GB", "2 GB", "2Gb/s", "0GB"};
    for (size_t i = 0; i < ARRAY_COUNT(wrong); i++) {
        uint64_t bytes = 7;
        struct err err = {0};
        cr_assert_neq(num_parse_bytes(wrong[i], &bytes, &err), STATUS_OK, "%s", wrong[i]);
        cr_assert_eq(bytes, 7);
    }
}

Test(base_num, numbers_that_decided_do_not_read_as_their_limit)
{
    static const struct {
        double value, limit;
        int digits;
    } cases[] = {{12, 10, 3}, {10, 10, 3}, {10.04, 10, 4}, {0.99996, 1, 5}, {1.0000000001, 1, 11}};
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        cr_expect_eq(num_digits_apart(cases[i].value, cases[i].limit), cases[i].digits, "%.12g",
                     cases[i].value);
        cr_expect_eq(num_digits_apart(cases[i].limit, cases[i].value), cases[i].digits);
    }
    char text[NUM_TEXT_BYTES];
    char limit[NUM_TEXT_BYTES];
    num_format_bytes_apart((1 << 30) + 4096, 1 << 30, text, limit);
    cr_expect_str_eq(text, "1073745920 B");
    cr_expect_str_eq(limit, "1073741824 B");
    num_format_bytes_apart(2ULL << 30, 1 << 30, text, limit);
    cr_expect_str_eq(text, "2.00 GiB");
    cr_expect_str_eq(limit, "1.00 GiB");
}

Test(base_num, short_numbers_for_people)
{
    const struct {
        double value;
        const char *text;
    } cases[] = {
        {0, "0.000"},       {0.5, "0.5000"},   {426.337, "426.3"},       {1693.4, "1,693"},
        {1e6, "1,000,000"}, {-1234, "-1,234"}, {3.2181e-5, "3.218e-05"}, {2e15, "2.000e+15"},
        {NAN, "-"},         {INFINITY, "-"}};
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct buf text CLEANUP(buf_release) = {0};
        buf_init(&text, 64);
        num_append_short(cases[i].value, &text);
        cr_expect_str_eq(text.data, cases[i].text);
    }
}

Test(base_num, durations_for_people)
{
    const struct {
        uint64_t ns;
        const char *text;
    } cases[] = {{1500, "1.5 us"},
                 {999 * NS_PER_US, "999 us"},
                 {25 * NS_PER_MS / 10, "2.5 ms"},
                 {NS_PER_S, "1.0s"},
                 {59900 * NS_PER_MS, "59.9s"},
                 {99 * NS_PER_S, "99.0s"},
                 {100 * NS_PER_S, "1m40s"},
                 {3599 * NS_PER_S, "59m59s"},
                 {3600 * NS_PER_S, "1h00m"},
                 {90061 * NS_PER_S, "25h01m"}};
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        char text[NUM_TEXT_BYTES];
        num_format_duration(cases[i].ns, text);
        cr_expect_str_eq(text, cases[i].text);
    }
}

Test(base_num, numbers_keep_to_their_bounds)
{
    double value = 0;
    cr_expect_eq(num_parse_double("2.5", 1, 2.5, &value, NULL), STATUS_OK);
    cr_expect_eq(value, 2.5);
    static const char *const wrong[] = {"2.51", "0.99", "1e999", "inf", "nan", "0x2", " 2", "2 "};
    for (size_t i = 0; i < ARRAY_COUNT(wrong); i++)
        cr_expect_eq(num_parse_double(wrong[i], 1, 2.5, &value, NULL), STATUS_INVALID, "%s",
                     wrong[i]);
    cr_expect_eq(value, 2.5, "untouched on failure");
}
