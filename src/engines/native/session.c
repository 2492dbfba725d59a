#include "engines/native/session.h"

#include <math.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

unsigned session_threads(const struct cell *cell)
{
    if (cell->threads_count != 0)
        return cell->threads_count;
    cpu_set_t set;
    long count = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set)
                                                              : sysconf(_SC_NPROCESSORS_ONLN);
    if (count < 1)
        return 1;
    return count > POOL_THREADS_MAX ? POOL_THREADS_MAX : (unsigned)count;
}

void session_prefill(struct transformer *t, size_t positions_count)
{
    struct buffers *b = &t->buffers;
    for (size_t batch = 0; batch < t->shape.B; batch++) {
        for (size_t first = 0; first < positions_count; first += PREFILL_ROWS) {
            size_t rows = positions_count - first;
            rows = rows < PREFILL_ROWS ? rows : PREFILL_ROWS;
            for (size_t row = 0; row < rows; row++) {
                b->pass_tokens[row] = b->inputs[batch * t->shape.T + first + row];
                b->positions[row] = (uint32_t)(first + row);
                b->batch_of[row] = (uint32_t)batch;
            }
            transformer_decode(t, rows, false, MATRIX_NONE);
        }
    }
}

void session_decode_step(struct transformer *t, size_t from, size_t position,
                         struct matrix logits_out)
{
    struct buffers *b = &t->buffers;
    for (size_t batch = 0; batch < t->shape.B; batch++) {
        b->pass_tokens[batch] = b->inputs[batch * t->shape.T + from];
        b->positions[batch] = (uint32_t)position;
        b->batch_of[batch] = (uint32_t)batch;
    }
    transformer_decode(t, t->shape.B, true, logits_out);
}

static void train_step(struct native_session *session, uint64_t step, struct matrix logits_out)
{
    struct transformer *t = &session->model;
    session->loss = transformer_gradients(t, step, logits_out);
    if (!isfinite(session->loss))
        session->losses_odd++;
    adamw_step(&t->compute, &session->adamw, step + 1, t->buffers.weights, t->buffers.gradients,
               t->buffers.moment1, t->buffers.moment2);
}

void session_step(struct native_session *session, uint64_t step, struct matrix logits_out)
{
    struct transformer *t = &session->model;
    /* What a step leaves out is not to be seen from the one before it. */
    t->seen = (struct head_seen){0};
    switch (t->shape.mode) {
    case CELL_MODE_TRAIN: train_step(session, step, logits_out); break;
    case CELL_MODE_INFER: transformer_infer(t, logits_out); break;
    case CELL_MODE_DECODE:
        session_decode_step(t, (size_t)((t->shape.T - 1 + step) % t->shape.T), t->shape.T - 1,
                            logits_out);
        break;
    }
}

/* --- what a step must give --- */

/* The cell's own tokens, opened anew. */
static enum status tokens_again(struct native_session *session, uint64_t step, struct err *err)
{
    struct buffers *b = &session->model.buffers;
    struct tokens *tokens = NULL;
    TRY(tokens_open(&session->cell, &tokens, err));
    tokens_batch(tokens, step, b->inputs, b->targets);
    tokens_close(tokens);
    return STATUS_OK;
}

/* From an empty cache. */
static void decode_again(struct transformer *t, uint64_t step)
{
    size_t last = t->shape.T - 1;
    size_t bytes = t->buffers.keys.rows * t->buffers.keys.columns *
                   matrix_element_bytes(t->buffers.keys.dtype);
    memset(t->buffers.keys.data, 0, bytes);
    memset(t->buffers.values.data, 0, bytes);
    session_prefill(t, last);
    session_decode_step(t, (size_t)((last + step) % t->shape.T), last, MATRIX_NONE);
}

enum status session_verify(struct native_session *session, uint64_t step,
                           struct proto_observation *ret_expected, struct err *err)
{
    struct transformer *t = &session->model;
    uint64_t expert_tokens[PROTO_EXPERTS_MAX];
    bool is_decode = t->shape.mode == CELL_MODE_DECODE;
    TRY(tokens_again(session, is_decode ? 0 : step, err));
    /* What is seen of experts is the measured steps'. */
    memcpy(expert_tokens, t->expert_tokens, sizeof(expert_tokens));
    if (is_decode)
        decode_again(t, step);
    else
        ret_expected->loss = transformer_loss(t, step, MATRIX_NONE);
    memcpy(t->expert_tokens, expert_tokens, sizeof(expert_tokens));
    ret_expected->has_head_tokens = true;
    ret_expected->head_tokens = cell_tokens_per_step(&session->cell);
    session_put_logits(session, ret_expected);
    return STATUS_OK;
}

void session_put_logits(const struct native_session *session, struct proto_observation *ret)
{
    const struct transformer *t = &session->model;
    uint64_t count = cell_tokens_per_step(&session->cell) * t->shape.V;
    for (uint32_t i = 0; count >= PROTO_LOGITS && i < PROTO_LOGITS; i++)
        ret->logits[i] = (double)t->seen.logits[i];
    ret->logits_count = count >= PROTO_LOGITS ? PROTO_LOGITS : 0;
}
