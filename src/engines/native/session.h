/* engines/native/session.h - one open cell of the native engine. */
#ifndef ENGINES_NATIVE_SESSION_H
#define ENGINES_NATIVE_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "data/tokens.h"
#include "engines/native/adamw.h"
#include "engines/native/transformer.h"
#include "proto/message.h"

struct native_session {
    struct cell cell;
    struct transformer model;
    struct tokens *tokens; /* owned */
    uint64_t steps_done;
    double loss;         /* of the last train step */
    uint64_t losses_odd; /* not finite, since the last observation */
    struct adamw adamw;
};

/* Threads a cell runs on: what it asks for, or the processors this process may use. */
unsigned session_threads(const struct cell *cell);

/* The step that is timed and checked, on buffers.inputs and .targets. `step`, counted from 0: the
 * masks of dropout, the optimizer's bias correction, decode's column of the inputs. logits_out (of
 * all rows, V) or MATRIX_NONE. */
void session_step(struct native_session *session, uint64_t step, struct matrix logits_out);

/* What step `step` must give (engine_ops.verify). */
MUST_CHECK enum status session_verify(struct native_session *session, uint64_t step,
                                      struct proto_observation *ret_expected, struct err *err);

/* The sampled logits of the newest step. */
void session_put_logits(const struct native_session *session, struct proto_observation *ret);

/* The memory of check(): its own shape and weights, so that nothing of the session changes. */
MUST_CHECK enum status session_check(struct native_session *session,
                                     const struct proto_check *request,
                                     struct proto_check_result *ret_result, struct err *err);

/* Decode: the keys and values of positions 0 .. positions_count-1 of every row of buffers.inputs
 * (B, T). */
void session_prefill(struct transformer *t, size_t positions_count);
/* Decode: token inputs[b][from] of every row at position `position`, and its logits. */
void session_decode_step(struct transformer *t, size_t from, size_t position,
                         struct matrix logits_out);

#endif
