#include "proto/message.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "proto/fields.h"

const char *proto_type_name(enum proto_type type)
{
    static const char *const names[] = {
#define X(name, text) [PROTO_##name] = text,
        PROTO_MESSAGE_MAP(X)
#undef X
    };
    return (size_t)type < ARRAY_COUNT(names) ? names[type] : "unknown";
}

const char *proto_error_kind_name(enum proto_error_kind kind)
{
    static const char *const names[] = {
#define X(name, text) [PROTO_ERROR_##name] = text,
        PROTO_ERROR_MAP(X)
#undef X
    };
    return (size_t)kind < ARRAY_COUNT(names) ? names[kind] : "unknown";
}

void proto_worker_message_release(struct proto_worker_message *message)
{
    if (message == NULL)
        return;
    if (message->type == PROTO_BLOCK)
        free(message->as.block.step_ns);
    if (message->type == PROTO_READY)
        proto_ready_release(&message->as.ready);
    memset(message, 0, sizeof(*message));
}

void proto_ready_drop_json(struct proto_ready *ready)
{
    size_t count = 0;
    const struct proto_field *fields = proto_fields_of(FACT_GIVER_READY, &count);
    for (size_t i = 0; i < count; i++) {
        if (fact_of(fields[i].id)->wire != FACT_WIRE_JSON)
            continue;
        char **owned = (char **)((char *)ready + fields[i].offset);
        free(*owned);
        *owned = NULL;
    }
}

void proto_ready_release(struct proto_ready *ready)
{
    if (ready == NULL)
        return;
    proto_ready_drop_json(ready);
    memset(ready, 0, sizeof(*ready));
}

void proto_observation_init(struct proto_observation *observation)
{
    memset(observation, 0, sizeof(*observation));
    size_t count = 0;
    const struct proto_field *fields = proto_fields_of(FACT_GIVER_BLOCK, &count);
    for (size_t i = 0; i < count; i++) {
        if (fact_of(fields[i].id)->wire == FACT_WIRE_NUMBER)
            *(double *)((char *)observation + fields[i].offset) = NAN;
    }
}

/* "logits" */
#define LOGITS_STREAM 0x6C6F67697473ULL

uint64_t proto_logits_place(uint32_t index, uint64_t count)
{
    ASSERT(index < PROTO_LOGITS && count >= PROTO_LOGITS);
    uint64_t part = count / PROTO_LOGITS;
    return index * part + random_at(LOGITS_STREAM, index) % part;
}
