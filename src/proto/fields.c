#include "proto/fields.h"

#include <math.h>

#include "base/status.h"

#define NO_FLAG                       SIZE_MAX

#define HAS_COUNT(body, key)          offsetof(struct body, has_##key)
#define HAS_NS(body, key)             HAS_COUNT(body, key)
#define HAS_BYTES(body, key)          HAS_COUNT(body, key)
#define HAS_FLAG(body, key)           HAS_COUNT(body, key)
#define HAS_COUNT_OR_NONE(body, key)  NO_FLAG
#define HAS_NS_OR_NONE(body, key)     NO_FLAG
#define HAS_NUMBER(body, key)         NO_FLAG
#define HAS_NUMBER_OR_NONE(body, key) NO_FLAG
#define HAS_TEXT(body, key)           NO_FLAG
#define HAS_LONG_TEXT(body, key)      NO_FLAG
#define HAS_JSON(body, key)           NO_FLAG

/* A row of the tables below. */
#define FIELD(id, body, key, wire) {FACT_##id, offsetof(struct body, key), HAS_##wire(body, key)},

static const struct proto_field ready_fields[] = {
#define READY(id, name, type, unit, group, better, meaning, null_when, reasons, key, wire) \
    FIELD(id, proto_ready, key, wire)
#include "spec/facts.def"
};

static const struct proto_field block_fields[] = {
#define BLOCK(id, name, type, unit, group, better, meaning, null_when, reasons, key, wire, fold) \
    FIELD(id, proto_observation, key, wire)
#include "spec/facts.def"
};

static const struct proto_field memory_fields[] = {
#define MEMORY(id, name, type, unit, group, better, meaning, null_when, reasons, key, wire) \
    FIELD(id, proto_memory, key, wire)
#include "spec/facts.def"
};

static const struct {
    const struct proto_field *fields;
    size_t count;
} replies[FACT_GIVERS_COUNT] = {
    [FACT_GIVER_READY] = {ready_fields, ARRAY_COUNT(ready_fields)},
    [FACT_GIVER_BLOCK] = {block_fields, ARRAY_COUNT(block_fields)},
    [FACT_GIVER_MEMORY] = {memory_fields, ARRAY_COUNT(memory_fields)},
};

const struct proto_field *proto_fields_of(enum fact_giver giver, size_t *ret_count)
{
    ASSERT(giver < FACT_GIVERS_COUNT);
    *ret_count = replies[giver].count;
    return replies[giver].fields;
}

static const void *value_of(const struct proto_field *field, const void *body)
{
    return (const char *)body + field->offset;
}

bool proto_field_is_known(const struct proto_field *field, const void *body)
{
    if (field->has_offset != NO_FLAG)
        return *(const bool *)((const char *)body + field->has_offset);
    switch (fact_of(field->id)->wire) {
    case FACT_WIRE_COUNT_OR_NONE:
    case FACT_WIRE_NS_OR_NONE: return proto_field_u64(field, body) > 0;
    case FACT_WIRE_NUMBER: return isfinite(proto_field_double(field, body));
    case FACT_WIRE_NUMBER_OR_NONE: {
        double number = proto_field_double(field, body);
        return isfinite(number) && number > 0;
    }
    case FACT_WIRE_TEXT:
    case FACT_WIRE_LONG_TEXT:
    case FACT_WIRE_JSON: return proto_field_text(field, body)[0] != '\0';
    case FACT_WIRE_NONE:
    case FACT_WIRE_COUNT:
    case FACT_WIRE_NS:
    case FACT_WIRE_BYTES:
    case FACT_WIRE_FLAG:
    case FACT_WIRES_COUNT: break;
    }
    UNREACHABLE("these have a flag");
}

uint64_t proto_field_u64(const struct proto_field *field, const void *body)
{
    return *(const uint64_t *)value_of(field, body);
}

double proto_field_double(const struct proto_field *field, const void *body)
{
    return *(const double *)value_of(field, body);
}

bool proto_field_flag(const struct proto_field *field, const void *body)
{
    return *(const bool *)value_of(field, body);
}

const char *proto_field_text(const struct proto_field *field, const void *body)
{
    if (fact_of(field->id)->wire != FACT_WIRE_JSON)
        return value_of(field, body);
    const char *json = *(char *const *)value_of(field, body);
    return json != NULL ? json : "";
}
