#include "result/record.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_dump.h"
#include "base/json_write.h"
#include "base/num.h"
#include "base/utf8.h"

#define REASON_NOT_MEASURED  "not_measured"
#define REASON_NOT_RECORDED  "not_recorded"
#define REASON_NOT_FINITE    "not_finite"
#define REASON_INVALID_JSON  "invalid_json"
#define REASON_OUT_OF_MEMORY "out_of_memory"

struct value {
    bool is_set;
    bool is_memory_short; /* null because its text could not be copied */
    char *text;           /* owned: string, compact JSON, or the reason of a null; may be NULL */
    union {
        uint64_t u64;
        double real;
        bool truth;
    } plain;
};

struct record {
    struct value values[FACTS_COUNT];
    struct reasons *reasons; /* owned: FACT_REASONS, typed; NULL = none */
};

struct record *record_new(void)
{
    return calloc(1, sizeof(struct record));
}

void record_free(struct record *record)
{
    if (record == NULL)
        return;
    for (enum fact_id i = 0; i < FACTS_COUNT; i++)
        free(record->values[i].text);
    free(record->reasons);
    free(record);
}

/* The field's value, emptied. `type` is what the caller is about to set. */
static struct value *empty(struct record *record, enum fact_id field)
{
    ASSERT(field < FACTS_COUNT);
    struct value *value = &record->values[field];
    if (field == FACT_REASONS) {
        free(record->reasons);
        record->reasons = NULL;
    }
    free(value->text);
    *value = (struct value){0};
    return value;
}

/* Keeps a valid copy of `text` in `value`. The longest kept is far over what a line may hold; the
 * line's own limit is the one users see. */
static bool keep_text(struct value *value, const char *text)
{
    struct buf copy;
    buf_init(&copy, 4 * (size_t)RECORD_LINE_BYTES_MAX);
    utf8_append_valid(&copy, text);
    char *owned = copy.failed ? NULL : strdup(copy.data);
    buf_release(&copy);
    value->text = owned;
    value->is_memory_short = owned == NULL;
    return owned != NULL;
}

void record_set_string(struct record *record, enum fact_id field, const char *text)
{
    ASSERT(fact_of(field)->type == FACT_TYPE_STRING);
    struct value *value = empty(record, field);
    value->is_set = keep_text(value, text);
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

void record_set_bool(struct record *record, enum fact_id field, bool truth)
{
    ASSERT(fact_of(field)->type == FACT_TYPE_BOOLEAN);
    struct value *value = empty(record, field);
    value->plain.truth = truth;
    value->is_set = true;
}

/* The typed half of FACT_REASONS. */
static void keep_reasons(struct record *record, const json_t *json)
{
    if (json_array_size(json) == 0)
        return;
    record->reasons = malloc(sizeof(*record->reasons));
    if (record->reasons == NULL)
        record_set_null(record, FACT_REASONS, REASON_OUT_OF_MEMORY);
    else
        reasons_read(json, record->reasons);
}

/* Stores the value compactly. JSON's own null is a null without a better reason. */
static void set_json_value(struct record *record, enum fact_id field, const json_t *json)
{
    if (json_is_null(json)) {
        record_set_null(record, field, NULL);
        return;
    }
    struct buf text;
    buf_init(&text, 4 * (size_t)RECORD_LINE_BYTES_MAX);
    struct json_writer writer;
    json_writer_init(&writer, &text);
    if (json_dump_value(json, &writer)) {
        struct value *value = empty(record, field);
        value->is_memory_short = text.failed;
        value->is_set = !text.failed && keep_text(value, text.data);
    } else {
        record_set_null(record, field, REASON_INVALID_JSON);
    }
    buf_release(&text);
    if (field == FACT_REASONS && record->values[field].is_set)
        keep_reasons(record, json);
}

void record_set_json(struct record *record, enum fact_id field, const char *json)
{
    ASSERT(fact_of(field)->type == FACT_TYPE_JSON);
    json_t *value = json_loads(json, JSON_DECODE_ANY, NULL);
    if (value == NULL) {
        record_set_null(record, field, REASON_INVALID_JSON);
        return;
    }
    set_json_value(record, field, value);
    json_decref(value);
}

void record_set_reasons(struct record *record, const struct reasons *reasons)
{
    struct buf json;
    struct json_writer writer;
    buf_init(&json, RECORD_LINE_BYTES_MAX);
    json_writer_init(&writer, &json);
    reasons_write(reasons, &writer);
    if (json.failed)
        record_set_null(record, FACT_REASONS, REASON_OUT_OF_MEMORY);
    else
        record_set_json(record, FACT_REASONS, json.data);
    buf_release(&json);
}

const struct reasons *record_reasons(const struct record *record)
{
    static const struct reasons none = {0};
    return record->reasons != NULL ? record->reasons : &none;
}

void record_set_null(struct record *record, enum fact_id field, const char *reason)
{
    struct value *value = empty(record, field);
    if (reason != NULL && strcmp(reason, REASON_NOT_MEASURED) != 0)
        (void)keep_text(value, reason);
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
    return value->text != NULL ? value->text : REASON_NOT_MEASURED;
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
    return value == NULL ? "" : value->text;
}

uint64_t record_u64(const struct record *record, enum fact_id field)
{
    const struct value *value = get(record, field, FACT_TYPE_INTEGER);
    return value == NULL ? 0 : value->plain.u64;
}

double record_double(const struct record *record, enum fact_id field)
{
    const struct value *value = get(record, field, FACT_TYPE_DOUBLE);
    return value == NULL ? (double)NAN : value->plain.real;
}

bool record_bool(const struct record *record, enum fact_id field)
{
    const struct value *value = get(record, field, FACT_TYPE_BOOLEAN);
    return value != NULL && value->plain.truth;
}

static void put_value(struct json_writer *writer, const struct value *value, enum fact_type type)
{
    if (!value->is_set) {
        json_put_null(writer);
        return;
    }
    switch (type) {
    case FACT_TYPE_STRING: json_put_string(writer, value->text); break;
    case FACT_TYPE_INTEGER: json_put_u64(writer, value->plain.u64); break;
    case FACT_TYPE_DOUBLE: json_put_double(writer, value->plain.real); break;
    case FACT_TYPE_BOOLEAN: json_put_bool(writer, value->plain.truth); break;
    case FACT_TYPE_JSON: json_put_raw(writer, value->text); break;
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

/* RFC 4180: in quotes, with quotes doubled. */
static void append_quoted(struct buf *out, const char *text)
{
    buf_append_char(out, '"');
    for (const char *part = text;;) {
        size_t length = strcspn(part, "\"");
        buf_append(out, part, length);
        if (part[length] == '\0')
            break;
        buf_append_text(out, "\"\"");
        part += length + 1;
    }
    buf_append_char(out, '"');
}

static void append_csv_value(struct buf *out, const struct value *value, enum fact_type type)
{
    if (!value->is_set)
        return;
    if (type == FACT_TYPE_JSON) {
        append_quoted(out, value->text);
    } else if (type == FACT_TYPE_STRING) {
        if (strpbrk(value->text, "\",\r\n") != NULL)
            append_quoted(out, value->text);
        else
            buf_append_text(out, value->text);
    } else {
        /* Plain values are written by the JSON writer, so that both files say the same. */
        struct json_writer writer;
        json_writer_init(&writer, out);
        put_value(&writer, value, type);
    }
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

/* False when the value is of another type than the field. */
static bool set_from_json(struct record *record, enum fact_id field, const json_t *json)
{
    switch (fact_of(field)->type) {
    case FACT_TYPE_STRING:
        if (!json_is_string(json))
            return false;
        record_set_string(record, field, json_string_value(json));
        return true;
    case FACT_TYPE_INTEGER:
        if (!json_is_integer(json) || json_integer_value(json) < 0)
            return false;
        record_set_u64(record, field, (uint64_t)json_integer_value(json));
        return true;
    case FACT_TYPE_DOUBLE:
        if (!json_is_number(json))
            return false;
        record_set_double(record, field, json_number_value(json));
        return true;
    case FACT_TYPE_BOOLEAN:
        if (!json_is_boolean(json))
            return false;
        record_set_bool(record, field, json_is_true(json));
        return true;
    case FACT_TYPE_JSON: set_json_value(record, field, json); return true;
    }
    return false;
}

static enum status read_object(const json_t *object, struct record *record, struct err *err)
{
    const json_t *schema = json_object_get(object, fact_of(FACT_SCHEMA)->name);
    if (!json_is_integer(schema))
        return ERR(err, STATUS_INVALID, "the line has no 'schema': it is no record of tokmark's");
    if (json_integer_value(schema) != RECORD_SCHEMA_VERSION)
        return ERR(err, STATUS_INVALID, "the line has schema %lld; this tokmark reads schema %d",
                   (long long)json_integer_value(schema), RECORD_SCHEMA_VERSION);
    const json_t *reasons = json_object_get(object, "null_reasons");
    for (enum fact_id i = 0; i < FACTS_COUNT; i++) {
        const json_t *value = json_object_get(object, fact_of(i)->name);
        const json_t *reason = json_object_get(reasons, fact_of(i)->name);
        if (value == NULL)
            record_set_null(record, i, REASON_NOT_RECORDED);
        else if (json_is_null(value))
            record_set_null(record, i, json_string_value(reason));
        else if (!set_from_json(record, i, value))
            return ERR(err, STATUS_INVALID, "'%s' must be %s", fact_of(i)->name,
                       fact_type_says(fact_of(i)->type));
        if (record->values[i].is_memory_short)
            return ERR(err, STATUS_NOMEM, "no memory for '%s'", fact_of(i)->name);
    }
    return STATUS_OK;
}

enum status record_parse_json(const char *line, size_t line_bytes, struct record **ret_record,
                              struct err *err)
{
    if (line_bytes > RECORD_LINE_BYTES_MAX)
        return ERR(err, STATUS_INVALID, "the line is longer than %u bytes", RECORD_LINE_BYTES_MAX);
    json_error_t error;
    json_t *object = json_loadb(line, line_bytes, 0, &error);
    if (object == NULL)
        return ERR(err, STATUS_INVALID, "the line is not JSON: %s", error.text);
    struct record *record = record_new();
    enum status status = record == NULL ? ERR(err, STATUS_NOMEM, "no memory for a record")
                         : !json_is_object(object)
                             ? ERR(err, STATUS_INVALID, "the line is not a JSON object")
                             : read_object(object, record, err);
    json_decref(object);
    if (status == STATUS_OK)
        *ret_record = record;
    else
        record_free(record);
    return status;
}
