/* serve/mhd.h - libmicrohttpd, loaded when it is needed: a machine that only measures need not have
 * it. */
#ifndef SERVE_MHD_H
#define SERVE_MHD_H

#include <microhttpd.h>

#include "base/status.h"

/* X(name, type of the result, types of the arguments): a member MHD_NAME is named `name`. */
#define MHD_MAP(X)                                                                                 \
    X(start_daemon, struct MHD_Daemon *,                                                           \
      (unsigned, uint16_t, MHD_AcceptPolicyCallback, void *, MHD_AccessHandlerCallback, void *,    \
       ...))                                                                                       \
    X(stop_daemon, void, (struct MHD_Daemon *))                                                    \
    X(create_response_from_buffer, struct MHD_Response *,                                          \
      (size_t, void *, enum MHD_ResponseMemoryMode))                                               \
    X(create_response_from_callback, struct MHD_Response *,                                        \
      (uint64_t, size_t, MHD_ContentReaderCallback, void *, MHD_ContentReaderFreeCallback))        \
    X(destroy_response, void, (struct MHD_Response *))                                             \
    X(add_response_header, enum MHD_Result, (struct MHD_Response *, const char *, const char *))   \
    X(queue_response, enum MHD_Result, (struct MHD_Connection *, unsigned, struct MHD_Response *)) \
    X(lookup_connection_value, const char *,                                                       \
      (struct MHD_Connection *, enum MHD_ValueKind, const char *))                                 \
    X(get_connection_values, int,                                                                  \
      (struct MHD_Connection *, enum MHD_ValueKind, MHD_KeyValueIterator, void *))                 \
    X(suspend_connection, void, (struct MHD_Connection *))                                         \
    X(resume_connection, void, (struct MHD_Connection *))

struct mhd {
#define X(name, result, arguments) result(*name) arguments;
    MHD_MAP(X)
#undef X
};

/* STATUS_NOT_FOUND says what to install. */
MUST_CHECK enum status mhd_load(struct mhd *ret_mhd, struct err *err);

#endif
