#include "result/record.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/csv.h"
#include "base/json_dump.h"
#include "base/json_write.h"
#include "base/num.h"
#include "base/utf8.h"
#include "result/scan.h"

#define REASON_NOT_MEASURED  "not_measured"
#define REASON_NOT_FINITE    "not_finite"
#define REASON_INVALID_JSON  "invalid_json"
#define REASON_OUT_OF_MEMORY "out_of_memory"

struct value {
    bool is_set;
    bool is_memory_short; /* null because its text could not be copied */
    struct buf text;      /* string, compact JSON, or the reason of a null; kept to be reused */
    union {
        uint64_t u64;
        double real;
        bool is_true;
    } plain;
};

/* FACT_REASONS or FACT_WARNINGS, typed: read when it is asked for. */
struct typed_reasons {
    bool is_read;
    struct reasons reasons;
};

enum { TYPED_REASONS, TYPED_WARNINGS, TYPED_COUNT };

struct record {
    struct value values[FACTS_COUNT];
    struct typed_reasons *typed; /* owned: TYPED_COUNT of them */
};

struct record *record_new(void)
{
    struct record *record = calloc(1, sizeof(struct record));
    struct typed_reasons *typed = calloc(TYPED_COUNT, sizeof(struct typed_reasons));
    if (record == NULL || typed == NULL) {
        free(record);
        free(typed);
        return NULL;
    }
    record->typed = typed;
    /* The longest text kept is far over what a line may hold; the line's own limit is the one users
     * see. */
    for (enum fact_id i = 0; i < FACTS_COUNT; i++)
        buf_init(&record->values[i].text, 4 * (size_t)RECORD_LINE_BYTES_MAX);
    return record;
}

void record_free(struct record *record)
{
    if (record == NULL)
        return;
    for (enum fact_id i = 0; i < FACTS_COUNT; i++)
        buf_release(&record->values[i].text);
    free(record->typed);
    free(record);
}

static struct typed_reasons *typed_of(const struct record *record, enum fact_id field)
{
    return &record->typed[field == FACT_WARNINGS ? TYPED_WARNINGS : TYPED_REASONS];
}

/* The field's value, emptied. */
static struct value *empty(struct record *record, enum fact_id field)
{
    ASSERT(field < FACTS_COUNT);
    struct value *value = &record->values[field];
    if (field == FACT_REASONS || field == FACT_WARNINGS)
        typed_of(record, field)->is_read = false;
    buf_reset(&value->text);
    value->is_set = value->is_memory_short = false;
    return value;
}

/* The text is written: is it all there? */
static bool is_kept(struct value *value)
{
    value->is_memory_short = value->text.failed;
    return !value->text.failed;
}

void record_set_string(struct record *record, enum fact_id field, const char *text)
{
    ASSERT(fact_of(field)->type == FACT_TYPE_STRING);
    struct value *value = empty(record, field);
    utf8_append_valid(&value->text, text);
    value->is_set = is_kept(value);
}

void record_set_u64(struct record *record, enum fact_id field, uint64_t number)
{
    ASSERT(fact_of(field)->type == FACT_TYPE_INTEGER);
    if (number > INT64_MAX) {
        char reason[64];
        (void)snprintf(reason, sizeof(reason), "over_int64: %" PRIu64, number);
        record_set_null(record, field, reason);
        return;
    }
    struct value *value = empty(record, field);
    value->plain.u64 = number;
    value->is_set = true;
}

void record_set_double(struct record *record, enum fact_id field, double number)
{
    ASSERT(fact_of(field)->type == FACT_TYPE_DOUBLE);
    if (!isfinite(number)) {
        record_set_null(record, field, REASON_NOT_FINITE);
        return;
    }
    struct value *value = empty(record, field);
    value->plain.real = number;
    value->is_set = true;
}

void record_put_double(struct record *record, enum fact_id field, double value, const char *missing)
{
    if (missing == NULL)
        record_set_double(record, field, value);
    else
        record_set_null(record, field, missing);
}

void record_set_bool(struct record *record, enum fact_id field, bool is_true)
{
    ASSERT(fact_of(field)->type == FACT_TYPE_BOOLEAN);
    struct value *value = empty(record, field);
    value->plain.is_true = is_true;
    value->is_set = true;
}

void record_set_json(struct record *record, enum fact_id field, const char *json)
{
    ASSERT(fact_of(field)->type == FACT_TYPE_JSON);
    json_t *tree = json_loads(json, JSON_DECODE_ANY, NULL);
    struct value *value = empty(record, field);
    struct json_writer writer;
    json_writer_init(&writer, &value->text);
    if (tree == NULL || !json_dump_value(tree, &writer))
        record_set_null(record, field, REASON_INVALID_JSON);
    else if (json_is_null(tree))
        record_set_null(record, field, NULL);
    else
        value->is_set = is_kept(value);
    json_decref(tree);
}

void record_set_reasons(struct record *record, enum fact_id field, const struct reasons *reasons)
{
    ASSERT(field == FACT_REASONS || field == FACT_WARNINGS);
    struct buf json;
    struct json_writer writer;
    buf_init(&json, RECORD_LINE_BYTES_MAX);
    json_writer_init(&writer, &json);
    reasons_write(reasons, &writer);
    if (json.failed)
        record_set_null(record, field, REASON_OUT_OF_MEMORY);
    else
        record_set_json(record, field, json.data);
    buf_release(&json);
}

const struct reasons *record_reasons(const struct record *record, enum fact_id field)
{
    ASSERT(field == FACT_REASONS || field == FACT_WARNINGS);
    struct typed_reasons *typed = typed_of(record, field);
    if (!typed->is_read) {
        json_t *array = json_loads(record_string(record, field), 0, NULL);
        reasons_read(array, &typed->reasons);
        json_decref(array);
        typed->is_read = true;
    }
    return &typed->reasons;
}

void record_set_null(struct record *record, enum fact_id field, const char *reason)
{
    ASSERT(field < FACTS_COUNT);
    const struct value *before = &record->values[field];
    if (reason == NULL || strcmp(reason, REASON_NOT_MEASURED) == 0)
        reason = "";
    /* Of records that are read one after the other, most lack the same fields for the same reason.
     */
    if (!before->is_set && !before->is_memory_short && strcmp(before->text.data, reason) == 0)
        return;
    struct value *value = empty(record, field);
    utf8_append_valid(&value->text, reason);
    (void)is_kept(value);
}

bool record_is_null(const struct record *record, enum fact_id field)
{
    ASSERT(field < FACTS_COUNT);
    return !record->values[field].is_set;
}

const char *record_null_reason(const struct record *record, enum fact_id field)
{
    ASSERT(field < FACTS_COUNT);
    const struct value *value = &record->values[field];
    if (value->is_set)
        return "";
    if (value->is_memory_short)
        return REASON_OUT_OF_MEMORY;
    return value->text.length_bytes > 0 ? value->text.data : REASON_NOT_MEASURED;
}

/* The field's value when it is set and of that type, else NULL. */
static const struct value *get(const struct record *record, enum fact_id field, enum fact_type type)
{
    bool is_there = fact_of(field)->type == type && record->values[field].is_set;
    return is_there ? &record->values[field] : NULL;
}

const char *record_string(const struct record *record, enum fact_id field)
{
    const struct value *value = get(record, field, FACT_TYPE_STRING);
    if (value == NULL)
        value = get(record, field, FACT_TYPE_JSON);
    return value == NULL ? "" : value->text.data;
}

uint64_t record_u64(const struct record *record, enum fact_id field)
{
    const struct value *value = get(record, field, FACT_TYPE_INTEGER);
    return value == NULL ? 0 : value->plain.u64;
}

uint32_t record_u32(const struct record *record, enum fact_id field)
{
    uint64_t number = record_u64(record, field);
    return number < UINT32_MAX ? (uint32_t)number : UINT32_MAX;
}

double record_double(const struct record *record, enum fact_id field)
{
    const struct value *value = get(record, field, FACT_TYPE_DOUBLE);
    return value == NULL ? (double)NAN : value->plain.real;
}

bool record_bool(const struct record *record, enum fact_id field)
{
    const struct value *value = get(record, field, FACT_TYPE_BOOLEAN);
    return value != NULL && value->plain.is_true;
}

static void put_value(struct json_writer *writer, const struct value *value, enum fact_type type)
{
    if (!value->is_set) {
        json_put_null(writer);
        return;
    }
    switch (type) {
    case FACT_TYPE_STRING: json_put_string(writer, value->text.data); break;
    case FACT_TYPE_INTEGER: json_put_u64(writer, value->plain.u64); break;
    case FACT_TYPE_DOUBLE: json_put_double(writer, value->plain.real); break;
    case FACT_TYPE_BOOLEAN: json_put_bool(writer, value->plain.is_true); break;
    case FACT_TYPE_JSON: json_put_raw(writer, value->text.data); break;
    }
}

void record_format_json(const struct record *record, struct buf *out)
{
    struct json_writer writer;
    json_writer_init(&writer, out);
    json_begin_object(&writer);
    for (enum fact_id i = 0; i < FACTS_COUNT; i++) {
        json_put_key(&writer, fact_of(i)->name);
        put_value(&writer, &record->values[i], fact_of(i)->type);
    }
    json_put_key(&writer, "null_reasons");
    json_begin_object(&writer);
    for (enum fact_id i = 0; i < FACTS_COUNT; i++)
        if (!record->values[i].is_set)
            json_field_string(&writer, fact_of(i)->name, record_null_reason(record, i));
    json_end_object(&writer);
    json_end_object(&writer);
    buf_append_char(out, '\n');
}

static void append_csv_value(struct buf *out, const struct value *value, enum fact_type type)
{
    if (!value->is_set)
        return;
    if (type == FACT_TYPE_JSON) {
        csv_append_quoted(out, value->text.data);
    } else if (type == FACT_TYPE_STRING) {
        csv_append_text(out, value->text.data);
    } else {
        /* Plain values are written by the JSON writer, so that both files say the same. */
        struct json_writer writer;
        json_writer_init(&writer, out);
        put_value(&writer, value, type);
    }
}

void record_put_value(const struct record *record, enum fact_id field, struct json_writer *writer)
{
    ASSERT(field < FACTS_COUNT);
    put_value(writer, &record->values[field], fact_of(field)->type);
}

void record_format_csv_value(const struct record *record, enum fact_id field, struct buf *out)
{
    ASSERT(field < FACTS_COUNT);
    append_csv_value(out, &record->values[field], fact_of(field)->type);
}

void record_format_csv(const struct record *record, struct buf *out)
{
    for (enum fact_id i = 0; i < FACTS_COUNT; i++) {
        if (i > 0)
            buf_append_char(out, ',');
        append_csv_value(out, &record->values[i], fact_of(i)->type);
    }
    buf_append_char(out, '\n');
}

void record_format_csv_header(struct buf *out)
{
    for (enum fact_id i = 0; i < FACTS_COUNT; i++) {
        if (i > 0)
            buf_append_char(out, ',');
        buf_append_text(out, fact_of(i)->name);
    }
    buf_append_char(out, '\n');
}

/* --- from a line --- */

static bool take_u64(struct record *record, enum fact_id field, const struct scan_value *scanned)
{
    static const char over[] = "over_int64: ";
    uint64_t number = 0;
    bool is_over = false;
    if (scanned->kind != SCAN_NUMBER || !scan_take_u64(scanned, &number, &is_over))
        return false;
    if (!is_over) {
        record_set_u64(record, field, number);
        return true;
    }
    struct value *value = empty(record, field);
    buf_append_text(&value->text, over);
    buf_append(&value->text, scanned->text, scanned->bytes);
    (void)is_kept(value);
    return true;
}

static bool take_text(struct record *record, enum fact_id field, const struct scan_value *scanned)
{
    if (scanned->kind != SCAN_STRING)
        return false;
    struct value *value = empty(record, field);
    scan_take_text(scanned, &value->text);
    value->is_set = is_kept(value);
    return true;
}

static void take_json(struct record *record, enum fact_id field, const struct scan_value *scanned)
{
    if (scanned->depth > JSON_DEPTH_MAX) {
        record_set_null(record, field, REASON_INVALID_JSON);
        return;
    }
    struct value *value = empty(record, field);
    scan_take_json(scanned, &value->text);
    value->is_set = is_kept(value);
}

bool record_take(struct record *record, enum fact_id field, const struct scan_value *value)
{
    enum fact_type type = fact_of(field)->type;
    bool is_not_finite =
        value->kind == SCAN_NOT_FINITE && type != FACT_TYPE_STRING && type != FACT_TYPE_BOOLEAN;
    if (is_not_finite) {
        record_set_null(record, field, REASON_NOT_FINITE);
        return true;
    }
    switch (type) {
    case FACT_TYPE_STRING: return take_text(record, field, value);
    case FACT_TYPE_INTEGER: return take_u64(record, field, value);
    case FACT_TYPE_DOUBLE:
        if (value->kind != SCAN_NUMBER)
            return false;
        record_set_double(record, field, scan_take_double(value));
        return true;
    case FACT_TYPE_BOOLEAN:
        if (value->kind != SCAN_TRUE && value->kind != SCAN_FALSE)
            return false;
        record_set_bool(record, field, value->kind == SCAN_TRUE);
        return true;
    case FACT_TYPE_JSON: take_json(record, field, value); return true;
    }
    return false;
}

bool record_lacks_memory(const struct record *record, enum fact_id field)
{
    return record->values[field].is_memory_short;
}
