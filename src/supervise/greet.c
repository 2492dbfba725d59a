#include "supervise/greet.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/version.h"

bool greet_worker(struct session *session, struct proto_worker_hello *ret_hello)
{
    struct proto_host_message request = {
        .type = PROTO_HELLO, .as.hello = {.versions_count = 1, .versions = {PROTO_VERSION}}};
    (void)snprintf(request.as.hello.host, sizeof(request.as.hello.host), "tokmark %s",
                   version_text());
    struct proto_worker_message reply;
    if (!session_ask(session, &request, PROTO_HELLO, &reply))
        return false;
    *ret_hello = reply.as.hello;
    if (ret_hello->version != PROTO_VERSION)
        session_end(session, VERDICT_PROTOCOL_ERROR, "wrong_version",
                    "the worker answered with protocol version %" PRIu32 "; this tokmark speaks %d",
                    ret_hello->version, PROTO_VERSION);
    watch_set_worker(&session->watch, ret_hello->pid);
    return true;
}
