#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "drive/step_check.h"
#include "engines/native/native.h"
#include "engines/native/session.h"
#include "small_model.h"

/* What the timed step of an engine that is at fault gives, against what the model gives by another
 * way: the native engine with another run_step. */

enum { WARM_STEPS = 3 };

static struct cell small_cell(enum cell_mode mode)
{
    struct cell cell = small_native_cell(mode);
    cell.seq_len = 8;
    cell.batch_size = 4;
    cell.threads_count = 1;
    cell.seed = 5;
    cell.model.vocab_size = 61;
    cell.model.layers_count = 3;
    cell.model.dropout = 0.1;
    return cell;
}

typedef void faulty_step(struct native_session *session);

static void take_tokens(struct native_session *session, uint64_t step)
{
    struct buffers *b = &session->model.buffers;
    if (session->cell.mode != CELL_MODE_DECODE)
        tokens_batch(session->tokens, step, b->inputs, b->targets);
}

/* The one that is timed. The caller counts. */
static void sound(struct native_session *session)
{
    struct err err = {0};
    cr_assert_eq(native_engine.run_step(session, &err), STATUS_OK, "%s", err.text);
    session->steps_done--;
}

static void no_head(struct native_session *session)
{
    take_tokens(session, session->steps_done);
    session->model.seen = (struct head_seen){0};
    transformer_forward(&session->model, 0);
}

static void head_of_the_last_token(struct native_session *session)
{
    struct transformer *t = &session->model;
    no_head(session);
    struct loss head = transformer_head(t, MATRIX_NONE);
    loss_logits(&t->compute, &head, matrix_rows(t->buffers.normed, t->shape.N - 1, 1));
}

static void one_layer_less(struct native_session *session)
{
    session->model.shape.L -= 1;
    sound(session);
    session->model.shape.L += 1;
}

/* The other half is what the step before left there. */
static void half_of_the_batch(struct native_session *session)
{
    struct buffers *b = &session->model.buffers;
    struct shape whole = session->model.shape;
    size_t half = whole.B / 2 * whole.T;
    take_tokens(session, session->steps_done);
    memcpy(b->inputs + half, b->inputs, half * sizeof(b->inputs[0]));
    memcpy(b->targets + half, b->targets, half * sizeof(b->targets[0]));
    session_step(session, session->steps_done, MATRIX_NONE);
}

static void another_seed(struct native_session *session)
{
    struct cell cell = session->cell;
    struct err err = {0};
    cell.seed += 1;
    tokens_close(session->tokens);
    cr_assert_eq(tokens_open(&cell, &session->tokens, &err), STATUS_OK, "%s", err.text);
    sound(session);
}

static void another_dropout(struct native_session *session)
{
    session->model.seed += 1;
    sound(session);
    session->model.seed -= 1;
}

static void the_same_tokens(struct native_session *session)
{
    take_tokens(session, 0);
    session_step(session, session->steps_done, MATRIX_NONE);
}

static void an_empty_cache(struct native_session *session)
{
    struct buffers *b = &session->model.buffers;
    size_t bytes = b->keys.rows * b->keys.columns * sizeof(float);
    memset(b->keys.data, 0, bytes);
    memset(b->values.data, 0, bytes);
    sound(session);
}

static void at_position_0(struct native_session *session)
{
    struct transformer *t = &session->model;
    size_t from = (size_t)((t->shape.T - 1 + session->steps_done) % t->shape.T);
    session_decode_step(t, from, 0, MATRIX_NONE);
}

/* What the check of a worker with that step says. In train, verify() comes before the step. */
static struct step_check check_with(enum cell_mode mode, faulty_step *step)
{
    struct cell cell = small_cell(mode);
    struct proto_ready ready = {0};
    struct proto_observation seen;
    struct proto_observation expected;
    struct step_check check;
    struct err err = {0};
    void *context = NULL;
    cr_assert_eq(native_engine.open(&cell, &context, &ready, &err), STATUS_OK, "%s", err.text);
    struct native_session *session = context;
    proto_observation_init(&seen);
    proto_observation_init(&expected);
    for (; session->steps_done < WARM_STEPS; session->steps_done++)
        step(session);
    if (mode == CELL_MODE_TRAIN) {
        cr_assert_eq(native_engine.verify(context, WARM_STEPS, &expected, &err), STATUS_OK);
        step(session);
        session->steps_done++;
        native_engine.observe(context, &seen);
    } else {
        native_engine.observe(context, &seen);
        cr_assert_eq(native_engine.verify(context, WARM_STEPS - 1, &expected, &err), STATUS_OK);
    }
    step_check_compare(&cell, &seen, &expected, &check);
    native_engine.close(context);
    return check;
}

Test(drive_step_check, a_sound_step_is_the_same)
{
    for (int mode = 0; mode < CELL_MODE_COUNT; mode++) {
        struct step_check check = check_with((enum cell_mode)mode, sound);
        cr_expect_eq(check.result, STEP_CHECK_SAME, "%d: %s", mode, check.reasons.items[0].text);
        cr_expect_lt(check.difference, 1e-5);
    }
}

Test(drive_step_check, a_step_that_leaves_something_out_differs)
{
    static const struct {
        enum cell_mode mode;
        faulty_step *step;
        const char *name;
    } faults[] = {
        {CELL_MODE_INFER, no_head, "infer, no head"},
        {CELL_MODE_INFER, head_of_the_last_token, "infer, head of the last token"},
        {CELL_MODE_INFER, one_layer_less, "infer, one layer less"},
        {CELL_MODE_INFER, half_of_the_batch, "infer, half of the batch"},
        {CELL_MODE_INFER, another_seed, "infer, another seed"},
        {CELL_MODE_INFER, the_same_tokens, "infer, the same tokens"},
        {CELL_MODE_TRAIN, no_head, "train, no head"},
        {CELL_MODE_TRAIN, one_layer_less, "train, one layer less"},
        {CELL_MODE_TRAIN, half_of_the_batch, "train, half of the batch"},
        {CELL_MODE_TRAIN, another_seed, "train, another seed"},
        {CELL_MODE_TRAIN, another_dropout, "train, another dropout"},
        {CELL_MODE_TRAIN, the_same_tokens, "train, the same tokens"},
        {CELL_MODE_DECODE, one_layer_less, "decode, one layer less"},
        {CELL_MODE_DECODE, an_empty_cache, "decode, no prefill"},
        {CELL_MODE_DECODE, at_position_0, "decode, at position 0"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(faults); i++) {
        struct step_check check = check_with(faults[i].mode, faults[i].step);
        cr_expect_eq(check.result, STEP_CHECK_DIFFERS, "%s", faults[i].name);
        cr_expect_str_eq(check.reasons.items[0].code, "step_differs", "%s", faults[i].name);
    }
}

/* --- the comparison by itself --- */

static struct proto_observation logits_of(double first, double rest)
{
    struct proto_observation seen;
    proto_observation_init(&seen);
    seen.logits_count = PROTO_LOGITS;
    for (uint32_t i = 0; i < PROTO_LOGITS; i++)
        seen.logits[i] = i < PROTO_LOGITS / 4 ? first : rest;
    return seen;
}

static enum step_check_result compare(enum cell_precision precision,
                                      const struct proto_observation *seen,
                                      const struct proto_observation *expected)
{
    struct cell cell = small_cell(CELL_MODE_INFER);
    struct step_check check;
    cell.precision = precision;
    step_check_compare(&cell, seen, expected, &check);
    return check.result;
}

Test(drive_step_check, limits_are_those_of_the_precision)
{
    struct proto_observation wanted = logits_of(1, 1);
    struct proto_observation near = logits_of(1, 1.01);
    struct proto_observation far = logits_of(1, 1.1);
    struct proto_observation few = logits_of(7, 1);
    struct proto_observation none = logits_of(1, NAN);
    cr_expect_eq(compare(CELL_PRECISION_FP32, &wanted, &wanted), STEP_CHECK_SAME);
    cr_expect_eq(compare(CELL_PRECISION_FP32, &near, &wanted), STEP_CHECK_DIFFERS);
    cr_expect_eq(compare(CELL_PRECISION_BF16, &near, &wanted), STEP_CHECK_SAME);
    cr_expect_eq(compare(CELL_PRECISION_BF16, &far, &wanted), STEP_CHECK_DIFFERS);
    /* a quarter: tokens that rounding has sent to other experts */
    cr_expect_eq(compare(CELL_PRECISION_BF16, &few, &wanted), STEP_CHECK_SAME);
    cr_expect_eq(compare(CELL_PRECISION_BF16, &none, &wanted), STEP_CHECK_DIFFERS);
    /* no limit is stated for it */
    cr_expect_eq(compare(CELL_PRECISION_INT8, &far, &wanted), STEP_CHECK_UNCHECKED);
}

Test(drive_step_check, what_one_side_alone_says_is_not_compared)
{
    struct proto_observation seen = logits_of(1, 1);
    struct proto_observation nothing;
    proto_observation_init(&nothing);
    cr_expect_eq(compare(CELL_PRECISION_FP32, &seen, &nothing), STEP_CHECK_UNCHECKED);
    cr_expect_eq(compare(CELL_PRECISION_FP32, &nothing, &seen), STEP_CHECK_UNCHECKED);
    seen = nothing;
    seen.loss = 4.0;
    nothing.loss = 4.0;
    cr_expect_eq(compare(CELL_PRECISION_FP32, &seen, &nothing), STEP_CHECK_SAME);
    nothing.loss = 4.001;
    cr_expect_eq(compare(CELL_PRECISION_FP32, &seen, &nothing), STEP_CHECK_DIFFERS);
    nothing.loss = INFINITY;
    cr_expect_eq(compare(CELL_PRECISION_FP32, &seen, &nothing), STEP_CHECK_DIFFERS);
    nothing.loss = 4.0;
    nothing.grad_norm = 2.0;
    seen.grad_norm = 2.1;
    cr_expect_eq(compare(CELL_PRECISION_FP32, &seen, &nothing), STEP_CHECK_DIFFERS);
    cr_expect_eq(compare(CELL_PRECISION_BF16, &seen, &nothing), STEP_CHECK_SAME);
}

Test(drive_step_check, tokens_of_the_head_are_counted)
{
    struct proto_observation seen = logits_of(1, 1);
    struct proto_observation expected = seen;
    seen.has_head_tokens = expected.has_head_tokens = true;
    seen.head_tokens = expected.head_tokens = 32;
    cr_expect_eq(compare(CELL_PRECISION_FP32, &seen, &expected), STEP_CHECK_SAME);
    seen.head_tokens = 4;
    cr_expect_eq(compare(CELL_PRECISION_FP32, &seen, &expected), STEP_CHECK_DIFFERS);
}

/* The step that is timed has all positions before its own in the cache, no more and no less. */
Test(drive_step_check, tokens_in_the_cache_are_counted)
{
    struct cell cell = small_cell(CELL_MODE_DECODE);
    struct proto_observation seen = logits_of(1, 1);
    struct proto_observation expected = seen;
    struct step_check check;
    seen.has_cache_tokens = true;
    for (uint64_t count = 0; count <= cell.seq_len + 1; count++) {
        seen.cache_tokens = count;
        step_check_compare(&cell, &seen, &expected, &check);
        cr_expect_eq(check.result, count == cell.seq_len - 1 ? STEP_CHECK_SAME : STEP_CHECK_DIFFERS,
                     "%zu", (size_t)count);
    }
    seen.cache_tokens = 0;
    cell.mode = CELL_MODE_INFER;
    step_check_compare(&cell, &seen, &expected, &check);
    cr_expect_eq(check.result, STEP_CHECK_SAME, "there is no cache");
}

/* Logits are made in blocks of rows; what is compared comes from all of them. */
Test(drive_step_check, native_samples_logits_of_every_block_of_the_head)
{
    struct cell cell = small_cell(CELL_MODE_INFER);
    struct proto_ready ready = {0};
    struct err err = {0};
    void *context = NULL;
    cell.batch_size = 160;
    cr_assert_eq(native_engine.open(&cell, &context, &ready, &err), STATUS_OK, "%s", err.text);
    struct native_session *session = context;
    size_t rows = (size_t)cell.batch_size * cell.seq_len;
    size_t logits_count = rows * cell.model.vocab_size;
    float *all = calloc(logits_count, sizeof(*all));
    cr_assert_not_null(all);
    cr_assert_gt(rows, session->model.shape.logits_rows, "one block is too few for this test");
    take_tokens(session, 0);
    session_step(session, 0, matrix_make(all, MATRIX_F32, rows, cell.model.vocab_size));
    for (uint32_t i = 0; i < PROTO_LOGITS; i++) {
        float wanted = all[proto_logits_place(i, logits_count)];
        cr_expect_eq(session->model.seen.logits[i], wanted, "%u", i);
        cr_expect_neq(wanted, 0);
    }
    free(all);
    native_engine.close(context);
}

/* Of every part one, at the places that docs/protocol.md gives. */
Test(drive_step_check, places_of_logits)
{
    for (uint32_t i = 0; i < PROTO_LOGITS; i++) {
        cr_expect_eq(proto_logits_place(i, PROTO_LOGITS), i);
        uint64_t place = proto_logits_place(i, 32000);
        cr_expect(place >= i * 1000 && place < (i + 1) * 1000);
    }
}
