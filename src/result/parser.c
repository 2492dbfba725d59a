#include "result/parser.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REASON_NOT_RECORDED "not_recorded"
#define REASON_NOT_READ     "not_read"
#define VALUE_REASONS       FACTS_COUNT /* behind the fields in `values`: null_reasons */
#define VALUES_COUNT        (FACTS_COUNT + 1)
#define WHY_BYTES           256

#define KEPT_BYTES          29 /* of a value: longer ones are read each time */

/* What the record's field was taken from. Most values of a sweep's lines are those of the line
 * before, and comparing their bytes is a tenth of reading them. */
struct kept_value {
    uint8_t kind; /* enum scan_kind; SCAN_ABSENT = nothing */
    uint8_t bytes;
    bool is_plain;
    char text[KEPT_BYTES];
};

struct parser {
    const char *names[VALUES_COUNT]; /* borrowed: static */
    size_t fields_count;
    enum fact_id fields[FACTS_COUNT]; /* that are taken */
    struct scanner *lines;            /* owned */
    struct scanner *reasons;          /* owned */
    struct scan_value values[VALUES_COUNT];
    struct scan_value reason_values[FACTS_COUNT];
    struct buf reasons_text; /* the null_reasons that reason_values are of, with padding */
    size_t reasons_bytes;
    struct buf reason;               /* scratch */
    bool is_unrecorded[FACTS_COUNT]; /* of the record: null because the line before had none */
    struct kept_value kept[FACTS_COUNT];
    struct record *record; /* owned */
    char why[WHY_BYTES];
};

/* --- life --- */

static void choose_fields(struct parser *parser, const enum fact_id *fields, size_t fields_count)
{
    parser->fields_count = fields != NULL ? fields_count : FACTS_COUNT;
    for (size_t i = 0; i < parser->fields_count; i++)
        parser->fields[i] = fields != NULL ? fields[i] : (enum fact_id)i;
    for (enum fact_id id = 0; id < FACTS_COUNT; id++) {
        record_set_null(parser->record, id, REASON_NOT_READ);
        parser->is_unrecorded[id] = false;
        parser->kept[id].kind = SCAN_ABSENT;
        parser->names[id] = fact_of(id)->name;
    }
    parser->names[VALUE_REASONS] = "null_reasons";
}

static enum status make_parts(struct parser *parser, const enum fact_id *fields,
                              size_t fields_count, struct err *err)
{
    parser->record = record_new();
    if (parser->record == NULL)
        return ERR(err, STATUS_NOMEM, "no memory for a record");
    choose_fields(parser, fields, fields_count);
    TRY(scanner_new(parser->names, VALUES_COUNT, &parser->lines, err));
    return scanner_new(parser->names, FACTS_COUNT, &parser->reasons, err);
}

enum status parser_new(const enum fact_id *fields, size_t fields_count, struct parser **ret_parser,
                       struct err *err)
{
    ASSERT(fields == NULL || fields_count <= FACTS_COUNT);
    struct parser *parser = calloc(1, sizeof(*parser));
    if (parser == NULL)
        return ERR(err, STATUS_NOMEM, "no memory to read records");
    buf_init(&parser->reasons_text, 2 * (size_t)RECORD_LINE_BYTES_MAX);
    buf_init(&parser->reason, RECORD_LINE_BYTES_MAX);
    enum status status = make_parts(parser, fields, fields_count, err);
    if (status == STATUS_OK)
        *ret_parser = parser;
    else
        parser_free(parser);
    return status;
}

void parser_want_all(struct parser *parser)
{
    choose_fields(parser, NULL, 0);
}

void parser_free(struct parser *parser)
{
    if (parser == NULL)
        return;
    scanner_free(parser->lines);
    scanner_free(parser->reasons);
    buf_release(&parser->reasons_text);
    buf_release(&parser->reason);
    record_free(parser->record);
    free(parser);
}

const struct record *parser_record(const struct parser *parser)
{
    return parser->record;
}

const char *parser_why(const struct parser *parser)
{
    return parser->why;
}

void parser_set_why(struct parser *parser, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(parser->why, sizeof(parser->why), format, args);
    va_end(args);
}

/* --- is it a record? --- */

static bool is_lacking(const struct scan_value *value)
{
    return value->kind == SCAN_ABSENT || value->kind == SCAN_NULL;
}

/* Without a schema of ours: the published scripts' line has all of their fields. */
static enum parser_outcome judge_without_schema(struct parser *parser,
                                                const struct scan_value *values)
{
    for (enum fact_id id = 0; id < PARSER_PUBLISHED_COUNT; id++) {
        if (values[id].kind == SCAN_ABSENT) {
            parser_set_why(
                parser,
                "it has no 'schema', so it is not a record of tokmark; nor does it have '%s', as "
                "records of the published scripts do",
                fact_of(id)->name);
            return PARSER_FOREIGN;
        }
    }
    return PARSER_PUBLISHED;
}

static enum parser_outcome judge_schema(struct parser *parser, const struct scan_value *values)
{
    const struct scan_value *schema = &values[FACT_SCHEMA];
    uint64_t number = 0;
    bool is_over = false;
    if (is_lacking(schema))
        return judge_without_schema(parser, values);
    if (schema->kind != SCAN_NUMBER || !scan_take_u64(schema, &number, &is_over) ||
        (number == 0 && !is_over)) {
        parser_set_why(parser, "its schema is not that of a tokmark record");
        return PARSER_FOREIGN;
    }
    if (is_over || number > RECORD_SCHEMA_VERSION) {
        parser_set_why(parser, "it has schema %.*s; this tokmark reads schema %d and earlier",
                       schema->bytes < 20 ? (int)schema->bytes : 20, schema->text,
                       RECORD_SCHEMA_VERSION);
        return PARSER_LATER;
    }
    return PARSER_RECORD;
}

static bool is_whole_number(const struct scan_value *value)
{
    uint64_t number;
    bool is_over;
    return value->is_plain || scan_take_u64(value, &number, &is_over);
}

/* May a field of that type have that value? As record_take() says, without taking it. */
static bool is_of_type(const struct scan_value *value, enum fact_type type)
{
    switch ((enum scan_kind)value->kind) {
    case SCAN_ABSENT:
    case SCAN_NULL: return true;
    case SCAN_STRING: return type == FACT_TYPE_STRING || type == FACT_TYPE_JSON;
    case SCAN_NUMBER:
        return type == FACT_TYPE_DOUBLE || type == FACT_TYPE_JSON ||
               (type == FACT_TYPE_INTEGER && is_whole_number(value));
    case SCAN_NOT_FINITE:
        return type == FACT_TYPE_DOUBLE || type == FACT_TYPE_INTEGER || type == FACT_TYPE_JSON;
    case SCAN_TRUE:
    case SCAN_FALSE: return type == FACT_TYPE_BOOLEAN || type == FACT_TYPE_JSON;
    case SCAN_OBJECT:
    case SCAN_ARRAY: return type == FACT_TYPE_JSON;
    }
    return false;
}

/* All fields, also those that nobody asked for: whether a line is a record must not depend on what
 * is wanted of it. */
static enum parser_outcome judge(struct parser *parser, const struct scan_value *values)
{
    enum parser_outcome outcome = judge_schema(parser, values);
    if (outcome != PARSER_RECORD && outcome != PARSER_PUBLISHED)
        return outcome;
    for (enum fact_id id = 0; id < FACTS_COUNT; id++) {
        if (values[id].kind == SCAN_ABSENT)
            continue;
        const struct fact *fact = fact_of(id);
        if (is_of_type(&values[id], fact->type))
            continue;
        parser_set_why(parser, "'%s' must be %s", fact->name, fact_type_says(fact->type));
        return PARSER_FOREIGN;
    }
    return outcome;
}

/* --- its fields --- */

/* Keeps the line's null_reasons scanned: from line to line they are mostly the same. */
static bool load_reasons(struct parser *parser)
{
    static const char padding[SCAN_PADDING_BYTES] = "\n";
    const struct scan_value *object = &parser->values[VALUE_REASONS];
    struct buf *text = &parser->reasons_text;
    if (object->kind != SCAN_OBJECT)
        return false;
    if (parser->reasons_bytes == object->bytes &&
        memcmp(text->data, object->text, object->bytes) == 0)
        return true;
    buf_reset(text);
    buf_append(text, object->text, object->bytes);
    buf_append(text, padding, sizeof(padding));
    parser->reasons_bytes = text->failed ? 0 : object->bytes;
    if (text->failed)
        return false;
    const struct scan_value copy = {text->data, object->bytes, SCAN_OBJECT, false, 1};
    scanner_scan_nested(parser->reasons, &copy, parser->reason_values);
    return true;
}

static void take_null(struct parser *parser, enum fact_id id, bool has_reasons)
{
    const struct scan_value *reason = &parser->reason_values[id];
    if (!has_reasons) {
        record_set_null(parser->record, id, REASON_NOT_RECORDED);
        return;
    }
    buf_reset(&parser->reason);
    if (reason->kind == SCAN_STRING)
        scan_take_text(reason, &parser->reason);
    record_set_null(parser->record, id, parser->reason.data);
}

/* Is the record's field of this very value already? If not, it will be. */
static bool is_kept(struct kept_value *kept, const struct scan_value *value)
{
    if (kept->kind == value->kind && kept->bytes == value->bytes &&
        kept->is_plain == value->is_plain && memcmp(kept->text, value->text, kept->bytes) == 0)
        return true;
    kept->kind = SCAN_ABSENT;
    if (value->bytes > KEPT_BYTES)
        return false;
    kept->kind = value->kind;
    kept->bytes = (uint8_t)value->bytes;
    kept->is_plain = value->is_plain;
    memcpy(kept->text, value->text, value->bytes);
    return false;
}

static enum status take_fields(struct parser *parser, const struct scan_value *values,
                               bool has_reasons, struct err *err)
{
    struct record *record = parser->record;
    for (size_t i = 0; i < parser->fields_count; i++) {
        enum fact_id id = parser->fields[i];
        bool is_absent = values[id].kind == SCAN_ABSENT;
        if (is_absent && parser->is_unrecorded[id])
            continue;
        parser->is_unrecorded[id] = is_absent;
        if (is_absent || values[id].kind == SCAN_NULL)
            parser->kept[id].kind = SCAN_ABSENT;
        else if (is_kept(&parser->kept[id], &values[id]))
            continue;
        if (is_absent)
            record_set_null(record, id, REASON_NOT_RECORDED);
        else if (values[id].kind == SCAN_NULL)
            take_null(parser, id, has_reasons);
        else if (!record_take(record, id, &values[id]))
            UNREACHABLE("judge() has looked at the types");
        if (record_lacks_memory(record, id))
            return ERR(err, STATUS_NOMEM, "no memory for '%s'", fact_of(id)->name);
    }
    return STATUS_OK;
}

enum status parser_take_line(struct parser *parser, const char *line, size_t line_bytes,
                             enum parser_outcome *ret_outcome, struct err *err)
{
    const char *fault = NULL;
    *ret_outcome = PARSER_FOREIGN;
    if (!scanner_scan(parser->lines, line, line_bytes, parser->values, &fault)) {
        parser_set_why(parser, "%s", fault);
        return STATUS_OK;
    }
    *ret_outcome = judge(parser, parser->values);
    if (*ret_outcome != PARSER_RECORD && *ret_outcome != PARSER_PUBLISHED)
        return STATUS_OK;
    return take_fields(parser, parser->values, load_reasons(parser), err);
}

bool parser_is_whole_foreign(struct parser *parser, const char *line, size_t line_bytes)
{
    const char *fault = NULL;
    return scanner_scan(parser->lines, line, line_bytes, parser->values, &fault) &&
           parser->values[FACT_SCHEMA].kind == SCAN_ABSENT;
}

enum status parser_take_values(struct parser *parser, const struct scan_value *values,
                               enum parser_outcome *ret_outcome, struct err *err)
{
    *ret_outcome = judge(parser, values);
    if (*ret_outcome != PARSER_RECORD && *ret_outcome != PARSER_PUBLISHED)
        return STATUS_OK;
    return take_fields(parser, values, false, err);
}
