/* engines/native/profile.h - steps of an open cell with every operation logged. */
#ifndef ENGINES_NATIVE_PROFILE_H
#define ENGINES_NATIVE_PROFILE_H

#include "engines/native/session.h"
#include "proto/message.h"

/* Runs the next steps by `run_step`, sums their operations by name and writes the trace. STATUS_IO
 * when that cannot be written. */
MUST_CHECK enum status profile_steps(struct native_session *session,
                                     const struct proto_profile *request,
                                     enum status (*run_step)(void *session, struct err *err),
                                     struct proto_profiled *ret_profiled, struct err *err);

#endif
