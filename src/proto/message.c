#include "proto/message.h"

#include <stdlib.h>
#include <string.h>

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
    memset(message, 0, sizeof(*message));
}
