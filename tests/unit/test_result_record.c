#include <criterion/criterion.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "parse_line.h"
#include "result/record.h"

#define LINE_BYTES (4U << 20)

static struct buf format_json(const struct record *record)
{
    struct buf line;
    buf_init(&line, LINE_BYTES);
    record_format_json(record, &line);
    cr_assert_not(line.failed);
    return line;
}

static const struct record *parse(struct parser *parser, const char *line, size_t line_bytes)
{
    cr_assert_eq(parse_line(parser, line, line_bytes), PARSER_RECORD, "%s", parser_why(parser));
    return parser_record(parser);
}

/* Every field set, with values that are hard on their way through text. */
static struct record *full_record(void)
{
    static const double doubles[] = {0.1,    1.0 / 3.0, 1e300, 5e-324, 123456789.0, 0.0,
                                     -2.5e7, 1e15,      -0.0,  1e-5,   65536.0};
    struct record *record = record_new();
    for (enum fact_id i = 0; i < FACTS_COUNT; i++) {
        switch (fact_of(i)->type) {
        case FACT_TYPE_STRING:
            record_set_string(record, i,
                              "a \"b\", c\nd\r\n\\ \xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80");
            break;
        case FACT_TYPE_INTEGER: record_set_u64(record, i, INT64_MAX - (uint64_t)i); break;
        case FACT_TYPE_DOUBLE:
            record_set_double(record, i, doubles[(size_t)i % ARRAY_COUNT(doubles)]);
            break;
        case FACT_TYPE_BOOLEAN: record_set_bool(record, i, i % 2 == 0); break;
        case FACT_TYPE_JSON:
            record_set_json(record, i, "{\"z\": [0.1, 3, 3.0, null], \"a\": \"q\\\"\\n\"}");
            break;
        }
    }
    record_set_u64(record, FACT_SCHEMA, RECORD_SCHEMA_VERSION);
    return record;
}

Test(result_record, the_published_fields_come_first_in_their_order)
{
    struct buf header;
    buf_init(&header, LINE_BYTES);
    record_format_csv_header(&header);
    static const char published[] =
        "framework,device,precision,mode,seq_len,batch_size,steps,tokens_per_step,ms_per_step,"
        "tokens_per_sec,mem_alloc_mb,mem_reserved_mb,peak_mem_mb,params_millions,notes,schema,";
    cr_assert_eq(strncmp(header.data, published, sizeof(published) - 1), 0);
    cr_assert_eq(header.data[header.length_bytes - 1], '\n');
    cr_assert_null(strchr(header.data, '\r'));
    buf_release(&header);
}

Test(result_record, a_new_record_is_all_null_and_says_not_measured)
{
    struct record *record = record_new();
    struct buf line = format_json(record);
    json_t *object = json_loadb(line.data, line.length_bytes, 0, NULL);
    cr_assert_not_null(object);
    cr_assert_eq(json_object_size(object), FACTS_COUNT + 1);
    const json_t *reasons = json_object_get(object, "null_reasons");
    cr_assert_eq(json_object_size(reasons), FACTS_COUNT);
    for (enum fact_id i = 0; i < FACTS_COUNT; i++) {
        cr_assert(record_is_null(record, i));
        cr_assert(json_is_null(json_object_get(object, fact_of(i)->name)));
        cr_assert_str_eq(json_string_value(json_object_get(reasons, fact_of(i)->name)),
                         "not_measured");
    }
    json_decref(object);
    buf_release(&line);
    record_free(record);
}

Test(result_record, a_full_line_survives_reading_and_writing)
{
    struct record *record = full_record();
    struct buf line = format_json(record);
    cr_assert_null(memchr(line.data, '\n', line.length_bytes - 1), "one line");
    struct parser *parser = parse_new();
    const struct record *again = parse(parser, line.data, line.length_bytes);
    struct buf second = format_json(again);
    cr_assert_str_eq(second.data, line.data);
    for (enum fact_id i = 0; i < FACTS_COUNT; i++) {
        cr_assert_not(record_is_null(again, i), "%s", fact_of(i)->name);
        cr_assert_eq(record_u64(again, i), record_u64(record, i));
        double wanted = record_double(record, i);
        double got = record_double(again, i);
        cr_assert((isnan(wanted) && isnan(got)) ||
                  (wanted == got && signbit(wanted) == signbit(got)));
        cr_assert_eq(record_bool(again, i), record_bool(record, i));
        cr_assert_str_eq(record_string(again, i), record_string(record, i));
    }
    struct buf row;
    struct buf second_row;
    buf_init(&row, LINE_BYTES);
    buf_init(&second_row, LINE_BYTES);
    record_format_csv(record, &row);
    record_format_csv(again, &second_row);
    cr_assert_str_eq(row.data, second_row.data);
    buf_release(&row);
    buf_release(&second_row);
    buf_release(&line);
    buf_release(&second);
    record_free(record);
    parser_free(parser);
}

Test(result_record, nulls_and_their_reasons_survive_too)
{
    struct record *record = record_new();
    record_set_u64(record, FACT_SCHEMA, RECORD_SCHEMA_VERSION);
    record_set_null(record, FACT_MS_P999, "needs_2995_samples");
    record_set_null(record, FACT_NOTES, "a \"quoted\" reason, \xC3\xA9");
    record_set_double(record, FACT_MS_P99, (double)NAN);
    record_set_double(record, FACT_MS_P95, (double)INFINITY);
    record_set_u64(record, FACT_SEED, UINT64_MAX);
    record_set_json(record, FACT_MODEL_SPEC, "{\"not\": json}");
    struct buf line = format_json(record);
    struct parser *parser = parse_new();
    const struct record *again = parse(parser, line.data, line.length_bytes);
    cr_assert_str_eq(record_null_reason(again, FACT_MS_P999), "needs_2995_samples");
    cr_assert_str_eq(record_null_reason(again, FACT_NOTES), "a \"quoted\" reason, \xC3\xA9");
    cr_assert_str_eq(record_null_reason(again, FACT_MS_P99), "not_finite");
    cr_assert_str_eq(record_null_reason(again, FACT_MS_P95), "not_finite");
    cr_assert_str_eq(record_null_reason(again, FACT_SEED), "over_int64: 18446744073709551615");
    cr_assert_str_eq(record_null_reason(again, FACT_MODEL_SPEC), "invalid_json");
    cr_assert_str_eq(record_null_reason(again, FACT_STEPS), "not_measured");
    cr_assert_str_eq(record_null_reason(again, FACT_SCHEMA), "");
    struct buf second = format_json(again);
    cr_assert_str_eq(second.data, line.data);
    buf_release(&line);
    buf_release(&second);
    record_free(record);
    parser_free(parser);
}

/* One row with some fields set; the others are empty. */
static void check_csv(enum fact_id field, const char *wanted_text)
{
    struct record *record = record_new();
    record_set_string(record, FACT_FRAMEWORK, "f");
    if (fact_of(field)->type == FACT_TYPE_JSON)
        record_set_json(record, field, "{\"k\": [0.5, \"a\\\"b\"]}");
    struct buf wanted;
    buf_init(&wanted, LINE_BYTES);
    buf_append_text(&wanted, "f");
    for (enum fact_id i = 1; i < FACTS_COUNT; i++)
        buf_appendf(&wanted, ",%s", i == field ? wanted_text : "");
    buf_append_text(&wanted, "\n");
    struct buf row;
    buf_init(&row, LINE_BYTES);
    record_format_csv(record, &row);
    cr_assert_str_eq(row.data, wanted.data);
    buf_release(&row);
    buf_release(&wanted);
    record_free(record);
}

Test(result_record, csv_json_values_are_quoted)
{
    /* {"k":[0.5,"a\"b"]} with every quote doubled, by hand */
    check_csv(FACT_MODEL_SPEC, "\"{\"\"k\"\":[0.5,\"\"a\\\"\"b\"\"]}\"");
    check_csv(FACT_COMMAND, "\"{\"\"k\"\":[0.5,\"\"a\\\"\"b\"\"]}\"");
}

Test(result_record, csv_text_is_quoted_by_rfc_4180)
{
    static const struct {
        const char *text;
        const char *csv;
    } cases[] = {
        {"plain words", "plain words"},
        {"", ""},
        {"a,b", "\"a,b\""},
        {"say \"hi\"", "\"say \"\"hi\"\"\""},
        {"\"", "\"\"\"\""},
        {"two\nlines", "\"two\nlines\""},
        {"cr\r", "\"cr\r\""},
        {"\xC3\xA9t\xC3\xA9 \xE2\x82\xAC", "\xC3\xA9t\xC3\xA9 \xE2\x82\xAC"},
        {"bad \xff utf", "bad \xEF\xBF\xBD utf"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct record *record = record_new();
        record_set_string(record, FACT_FRAMEWORK, cases[i].text);
        record_set_u64(record, FACT_SEQ_LEN, 128);
        record_set_double(record, FACT_MS_PER_STEP, 0.1);
        struct buf row;
        buf_init(&row, LINE_BYTES);
        record_format_csv(record, &row);
        char wanted[256];
        /* device, precision and mode are empty; so are batch_size, steps and tokens_per_step */
        (void)snprintf(wanted, sizeof(wanted), "%s,,,,128,,,,0.1,", cases[i].csv);
        cr_assert_eq(strncmp(row.data, wanted, strlen(wanted)), 0, "%s: %s", wanted, row.data);
        buf_release(&row);
        record_free(record);
    }
}

Test(result_record, lines_that_are_no_record_are_invalid)
{
    static const char *const bad[] = {
        "",
        " ",
        "x",
        "[]",
        "1",
        "null",
        "{\"framework\":\"pytorch\",\"notes\":\"\"}",
        "{\"schema\":2}",
        "{\"schema\":1.5}",
        "{\"schema\":0}",
        "{\"schema\":-1}",
        "{\"schema\":99999999999999999999}",
        "{\"schema\":\"1\"}",
        "{\"schema\":1} trailing",
        "{\"schema\":1,\"seq_len\":\"128\"}",
        "{\"schema\":1,\"seq_len\":-1}",
        "{\"schema\":1,\"seq_len\":1.5}",
        "{\"schema\":1,\"mode\":3}",
        "{\"schema\":1,\"synthetic\":0}",
        "{\"schema\":1,\"ms_p50\":\"1\"}",
        "{\"schema\":1,\"mode\":NaN}",
        "{\"schema\":1,\"environment\":{\"a\":NaN}}",
        "{\"schema\":1,\"nobody_knows_me\":tru}",
        "{\"schema\":1",
    };
    struct parser *parser = parse_new();
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        enum parser_outcome outcome = parse_line(parser, bad[i], strlen(bad[i]));
        bool is_later = strstr(bad[i], ":2") != NULL || strstr(bad[i], ":99") != NULL;
        cr_assert_eq(outcome, is_later ? PARSER_LATER : PARSER_FOREIGN, "%s", bad[i]);
        cr_assert(parser_why(parser)[0] != '\0');
    }
    parser_free(parser);
}

Test(result_record, values_as_other_writers_write_them)
{
    static const char line[] =
        "{ \"schema\" : 1.0 , \"seq_len\":1e3, \"ms_p50\":NaN, \"ms_p90\":1e999,"
        "\"steps\":99999999999999999999, \"batch_size\":8.0, \"mode\":\"\xff\","
        "\"notes\":\"a\\u0000\\ud83d\\ude00\", \"environment\":{ \"k\" : [ 1 ] }, \"tf32\":null,"
        "\"null_reasons\":{ \"tf32\":\"because \\u00e9\" } }";
    struct parser *parser = parse_new();
    const struct record *record = parse(parser, line, sizeof(line) - 1);
    cr_assert_eq(record_u64(record, FACT_SEQ_LEN), 1000);
    cr_assert_eq(record_u64(record, FACT_BATCH_SIZE), 8);
    cr_assert_str_eq(record_null_reason(record, FACT_MS_P50), "not_finite");
    cr_assert_str_eq(record_null_reason(record, FACT_MS_P90), "not_finite");
    cr_assert_str_eq(record_null_reason(record, FACT_STEPS), "over_int64: 99999999999999999999");
    cr_assert_str_eq(record_string(record, FACT_MODE), "\xEF\xBF\xBD");
    cr_assert_str_eq(record_string(record, FACT_NOTES), "a\xEF\xBF\xBD\xF0\x9F\x98\x80");
    cr_assert_str_eq(record_string(record, FACT_ENVIRONMENT), "{\"k\":[1]}");
    cr_assert_str_eq(record_null_reason(record, FACT_TF32), "because \xC3\xA9");
    parser_free(parser);
}

Test(result_record, json_that_nests_too_deep_is_null)
{
    struct parser *parser = parse_new();
    for (int depth = 15; depth <= 17; depth++) {
        char line[128];
        (void)snprintf(line, sizeof(line), "{\"schema\":1,\"command\":%.*s%.*s}", depth,
                       "[[[[[[[[[[[[[[[[[[[[", depth, "]]]]]]]]]]]]]]]]]]]]");
        const struct record *record = parse(parser, line, strlen(line));
        cr_assert_eq(record_is_null(record, FACT_COMMAND), depth > 16);
    }
    parser_free(parser);
}

Test(result_record, only_the_fields_that_are_asked_for)
{
    static const enum fact_id fields[] = {FACT_MODE, FACT_MS_P50};
    static const char line[] = "{\"schema\":1,\"mode\":\"train\",\"seq_len\":128}";
    struct parser *parser = NULL;
    cr_assert_eq(parser_new(fields, ARRAY_COUNT(fields), &parser, NULL), STATUS_OK);
    const struct record *record = parse(parser, line, sizeof(line) - 1);
    cr_assert_str_eq(record_string(record, FACT_MODE), "train");
    cr_assert_str_eq(record_null_reason(record, FACT_MS_P50), "not_recorded");
    cr_assert_str_eq(record_null_reason(record, FACT_SEQ_LEN), "not_read");
    /* What is wrong with a field that nobody asked for is wrong with the line all the same. */
    static const char bad[] = "{\"schema\":1,\"mode\":\"train\",\"seq_len\":\"128\"}";
    cr_assert_eq(parse_line(parser, bad, sizeof(bad) - 1), PARSER_FOREIGN);
    parser_free(parser);
}

Test(result_record, unknown_keys_are_ignored_and_missing_ones_not_recorded)
{
    static const char line[] = "{\"schema\":1,\"later\":[1],\"ms_p50\":3,\"mode\":\"train\"}";
    struct parser *parser = parse_new();
    const struct record *record = parse(parser, line, sizeof(line) - 1);
    cr_assert_str_eq(record_string(record, FACT_MODE), "train");
    cr_assert_eq(record_double(record, FACT_MS_P50), 3.0);
    cr_assert_str_eq(record_null_reason(record, FACT_SEED), "not_recorded");
    cr_assert(isnan(record_double(record, FACT_MS_P99)));
    cr_assert_eq(record_u64(record, FACT_SEED), 0);
    cr_assert_eq(record_u64(record, FACT_MODE), 0, "of another type");
    cr_assert_str_eq(record_string(record, FACT_MS_P50), "", "of another type");
    parser_free(parser);
}

Test(result_record, reasons_and_warnings_are_two_typed_lists)
{
    struct record *record = record_new();
    struct reasons reasons = {0};
    struct reasons warnings = {0};
    reasons_add(&reasons, "nonfinite_loss", "1 loss");
    reasons_add(&warnings, "drift", "by 7 %%");
    record_set_reasons(record, FACT_REASONS, &reasons);
    record_set_reasons(record, FACT_WARNINGS, &warnings);
    cr_expect_str_eq(record_reasons(record, FACT_REASONS)->items[0].code, "nonfinite_loss");
    cr_expect_str_eq(record_reasons(record, FACT_WARNINGS)->items[0].text, "by 7 %");
    record_set_null(record, FACT_WARNINGS, "verdict");
    cr_expect_eq(record_reasons(record, FACT_WARNINGS)->count, 0);
    cr_expect_eq(record_reasons(record, FACT_REASONS)->count, 1);
    record_free(record);
}
