/* Records for the store's tests, and an independent look at what is in a folder. */
#ifndef UNIT_RESULT_RECORD_SAMPLE_H
#define UNIT_RESULT_RECORD_SAMPLE_H

#include <jansson.h>

#include "parse_line.h"
#include "result/record.h"
#include "scratch.h"
#include "store/store.h"

/* A record like a real one; `trial` tells one from the other. */
static inline struct record *sample_record(uint64_t trial, const char *verdict)
{
    struct record *record = record_new();
    cr_assert_not_null(record);
    record_set_string(record, FACT_FRAMEWORK, "native");
    record_set_string(record, FACT_NOTES, "a \"note\", with\ntwo lines");
    record_set_u64(record, FACT_SCHEMA, RECORD_SCHEMA_VERSION);
    record_set_string(record, FACT_CELL_ID, "0123456789abcdef");
    record_set_string(record, FACT_POLICY_ID, "fedcba9876543210");
    record_set_u64(record, FACT_TRIAL, trial);
    record_set_string(record, FACT_VERDICT, verdict);
    record_set_double(record, FACT_MS_P50, 0.1 * (double)trial);
    record_set_string(record, FACT_ENVIRONMENT_ID, "00000000000000aa");
    record_set_json(record, FACT_COMMAND, "[\"tokmark\",\"run\",\"a,b\"]");
    return record;
}

static inline struct store *sample_open(const char *dir, struct store_facts *facts)
{
    struct store *store = NULL;
    struct err err = {0};
    cr_assert_eq(store_open(dir, &store, facts, &err), STATUS_OK, "%s", err.text);
    return store;
}

static inline void sample_append(struct store *store, uint64_t trial, const char *verdict)
{
    struct record *record = sample_record(trial, verdict);
    struct err err = {0};
    cr_assert_eq(store_append(store, record, false, &err), STATUS_OK, "%s", err.text);
    record_free(record);
}

/* A new folder with `count` finished records, trials 0 to count - 1. */
static inline void sample_folder(const char *dir, uint64_t count)
{
    struct store_facts facts;
    struct store *store = sample_open(dir, &facts);
    for (uint64_t i = 0; i < count; i++)
        sample_append(store, i, "ok");
    store_close(store);
}

/* Checks, without the store, that every line of the JSONL file is whole JSON and that the CSV file
 * is the header and one row a record, in order. Returns the number of records; their trials go to
 * `trials` (may be NULL). */
static inline size_t sample_check(const char *dir, uint64_t *trials, size_t trials_max)
{
    size_t jsonl_bytes = 0;
    char *jsonl = scratch_read(dir, "bench_results.jsonl", &jsonl_bytes);
    cr_assert_not_null(jsonl);
    struct buf csv;
    buf_init(&csv, 1 << 30);
    record_format_csv_header(&csv);
    size_t count = 0;
    struct parser *parser = parse_new();
    for (char *line = jsonl; line < jsonl + jsonl_bytes;) {
        char *end = memchr(line, '\n', (size_t)(jsonl + jsonl_bytes - line));
        cr_assert_not_null(end, "torn last line");
        json_error_t error;
        json_t *object = json_loadb(line, (size_t)(end - line), 0, &error);
        cr_assert_not_null(object, "line %zu: %s", count, error.text);
        if (trials != NULL && count < trials_max)
            trials[count] = (uint64_t)json_integer_value(json_object_get(object, "trial"));
        json_decref(object);
        cr_assert_eq(parse_line(parser, line, (size_t)(end - line)), PARSER_RECORD);
        record_format_csv(parser_record(parser), &csv);
        count++;
        line = end + 1;
    }
    parser_free(parser);
    size_t on_disk_bytes = 0;
    char *on_disk = scratch_read(dir, "bench_results.csv", &on_disk_bytes);
    cr_assert_not_null(on_disk);
    cr_assert_eq(on_disk_bytes, csv.length_bytes);
    cr_assert_eq(memcmp(on_disk, csv.data, on_disk_bytes), 0);
    free(on_disk);
    free(jsonl);
    buf_release(&csv);
    return count;
}

#endif
