#include "result/given.h"

#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "proto/fields.h"

#define BYTES_PER_MIB 1048576.0

/* --- over blocks --- */

static bool is_real(enum fact_wire wire)
{
    return wire == FACT_WIRE_NUMBER || wire == FACT_WIRE_NUMBER_OR_NONE;
}

static void fold(struct given_fold *fold, const struct proto_field *field,
                 const struct proto_observation *seen, bool is_measured)
{
    const struct fact *fact = fact_of(field->id);
    bool is_said = proto_field_is_known(field, seen);
    if (!is_measured && fact->fold != FACT_FOLD_TOTAL)
        return;
    if (fact->fold == FACT_FOLD_LAST)
        *fold = (struct given_fold){.is_known = is_said};
    fold->is_known = fold->is_known || is_said;
    fold->is_lacking = fold->is_lacking || (is_measured && !is_said);
    if (is_said && is_real(fact->wire))
        fold->real += proto_field_double(field, seen);
    else if (is_said)
        fold->whole += proto_field_u64(field, seen);
}

void given_blocks_add(struct given_blocks *blocks, const struct proto_block *block,
                      bool is_measured)
{
    size_t count = 0;
    const struct proto_field *fields = proto_fields_of(FACT_GIVER_BLOCK, &count);
    for (size_t i = 0; i < count; i++)
        fold(&blocks->folds[i], &fields[i], &block->observation, is_measured);
    blocks->steps_count += is_measured ? block->steps_count : 0;
}

uint64_t given_blocks_u64(const struct given_blocks *blocks, enum fact_id id)
{
    size_t count = 0;
    const struct proto_field *fields = proto_fields_of(FACT_GIVER_BLOCK, &count);
    for (size_t i = 0; i < count; i++)
        if (fields[i].id == id)
            return blocks->folds[i].whole;
    return 0;
}

/* --- into the record --- */

static void put_null(enum fact_id id, bool has_reply, const struct given_why *why,
                     struct record *record)
{
    char reason[FACT_REASON_BYTES];
    fact_unsaid_reason(fact_of(id), reason);
    bool is_of_one = why->has_several && strcmp(reason, "one_device") == 0;
    record_set_null(record, id, !has_reply ? why->missing : is_of_one ? "not_reported" : reason);
}

/* A field that a worker which makes its numbers up cannot have. */
static bool put_synthetic(enum fact_id id, const struct given_why *why, struct record *record)
{
    bool is_refused = why->is_synthetic && fact_lists_reason(fact_of(id), "synthetic");
    if (is_refused)
        record_set_null(record, id, "synthetic");
    return is_refused;
}

/* In the record's unit; `share` divides it. */
static void put_number(enum fact_id id, double number, double share, struct record *record)
{
    enum fact_wire wire = fact_of(id)->wire;
    if (wire == FACT_WIRE_NS || wire == FACT_WIRE_NS_OR_NONE)
        number = number / share / (double)NS_PER_MS;
    else
        number = number / share / (wire == FACT_WIRE_BYTES ? BYTES_PER_MIB : 1);
    record_set_double(record, id, number);
}

static void put_u64(enum fact_id id, uint64_t value, double share, struct record *record)
{
    if (fact_of(id)->type == FACT_TYPE_INTEGER)
        record_set_u64(record, id, value);
    else
        put_number(id, (double)value, share, record);
}

static void put_value(const struct proto_field *field, const void *body, struct record *record)
{
    enum fact_id id = field->id;
    switch (fact_of(id)->wire) {
    case FACT_WIRE_COUNT:
    case FACT_WIRE_COUNT_OR_NONE:
    case FACT_WIRE_NS:
    case FACT_WIRE_NS_OR_NONE:
    case FACT_WIRE_BYTES: put_u64(id, proto_field_u64(field, body), 1, record); break;
    case FACT_WIRE_NUMBER:
    case FACT_WIRE_NUMBER_OR_NONE:
        put_number(id, proto_field_double(field, body), 1, record);
        break;
    case FACT_WIRE_FLAG: record_set_bool(record, id, proto_field_flag(field, body)); break;
    case FACT_WIRE_TEXT:
    case FACT_WIRE_LONG_TEXT: record_set_string(record, id, proto_field_text(field, body)); break;
    case FACT_WIRE_JSON: record_set_json(record, id, proto_field_text(field, body)); break;
    case FACT_WIRE_NONE:
    case FACT_WIRES_COUNT: UNREACHABLE("a row without a kind");
    }
}

static void put_reply(enum fact_giver giver, const void *body, const struct given_why *why,
                      struct record *record)
{
    size_t count = 0;
    const struct proto_field *fields = proto_fields_of(giver, &count);
    for (size_t i = 0; i < count; i++) {
        if (put_synthetic(fields[i].id, why, record))
            continue;
        if (body != NULL && proto_field_is_known(&fields[i], body))
            put_value(&fields[i], body, record);
        else
            put_null(fields[i].id, body != NULL, why, record);
    }
}

void given_put_ready(const struct proto_ready *ready, const struct given_why *why,
                     struct record *record)
{
    put_reply(FACT_GIVER_READY, ready, why, record);
}

void given_put_memory(const struct proto_memory *memory, const struct given_why *why,
                      struct record *record)
{
    put_reply(FACT_GIVER_MEMORY, memory, why, record);
}

static void put_fold(enum fact_id id, const struct given_fold *fold, uint64_t steps_count,
                     struct record *record)
{
    const struct fact *fact = fact_of(id);
    double share = fact->fold == FACT_FOLD_STEP_MEAN ? (double)steps_count : 1;
    if (is_real(fact->wire))
        put_number(id, fold->real, share, record);
    else
        put_u64(id, fold->whole, share, record);
}

void given_put_blocks(const struct given_blocks *blocks, const struct given_why *why,
                      struct record *record)
{
    size_t count = 0;
    const struct proto_field *fields = proto_fields_of(FACT_GIVER_BLOCK, &count);
    bool is_measured = blocks->steps_count > 0;
    for (size_t i = 0; i < count; i++) {
        const struct given_fold *fold = &blocks->folds[i];
        bool is_total = fact_of(fields[i].id)->fold == FACT_FOLD_TOTAL;
        if (put_synthetic(fields[i].id, why, record))
            continue;
        if (fold->is_known && (is_total || (is_measured && !fold->is_lacking)))
            put_fold(fields[i].id, fold, blocks->steps_count, record);
        else
            put_null(fields[i].id, is_measured, why, record);
    }
}
