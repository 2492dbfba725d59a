/* proto/fields.h - where the values that the table of facts gives to a worker's reply lie in its
 * struct, so that reading, writing and recording them is one loop. */
#ifndef PROTO_FIELDS_H
#define PROTO_FIELDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/message.h"
#include "spec/facts.h"

struct proto_field {
    enum fact_id id;
    size_t offset;     /* in struct proto_ready, proto_observation or proto_memory */
    size_t has_offset; /* of has_KEY; SIZE_MAX where the value itself says */
};

/* Fields of a reply, in the order of records. `giver`: READY, BLOCK or MEMORY; none for others. */
const struct proto_field *proto_fields_of(enum fact_giver giver, size_t *ret_count);

/* `body`: the struct that the fields are of. */
bool proto_field_is_known(const struct proto_field *field, const void *body);
/* Of kinds COUNT, NS and BYTES, with OR_NONE or without; 0 where it is not known. */
uint64_t proto_field_u64(const struct proto_field *field, const void *body);
double proto_field_double(const struct proto_field *field, const void *body); /* NUMBER */
bool proto_field_flag(const struct proto_field *field, const void *body);
/* TEXT, LONG_TEXT, JSON; "" where it is not known. Borrowed: from `body`. */
const char *proto_field_text(const struct proto_field *field, const void *body);

#endif
