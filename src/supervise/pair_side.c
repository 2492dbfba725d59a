#include "supervise/pair_side.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "measure/quantile.h"
#include "supervise/greet.h"
#include "supervise/provenance.h"

#define RECENT_SAMPLES_MAX 20

void pair_side_init(struct pair_side *side, const struct cell *cell,
                    const struct supervise_options *options, const char *log_path)
{
    *side = (struct pair_side){.cell = cell, .options = options, .log_path = log_path};
    session_init(&side->session, options);
    struct measure_policy policy = options->policy;
    policy.steps_exact = 0;
    policy.block_steps_max = PROTO_BLOCK_STEPS_MAX;
    /* One step at least: the blocks' length comes from it. */
    if (!policy.is_warmup_auto && policy.warmup_steps == 0)
        policy.warmup_steps = 1;
    measure_init(&side->warmup, &policy);
}

void pair_side_release(struct pair_side *side)
{
    session_release(&side->session);
    measure_release(&side->warmup);
}

bool pair_side_can_go_on(const struct pair_side *side)
{
    return side->has_ready && !side->session.has_ended && !session_is_interrupted(&side->session);
}

static enum status start(struct pair_side *side, struct err *err)
{
    struct words command;
    char title[256];
    (void)snprintf(title, sizeof(title), "[tokmark: ab %s]\n",
                   side->options->run_id != NULL ? side->options->run_id : "-");
    enum status status = session_command(side->options, side->cell->engine, &command, err);
    if (status != STATUS_OK)
        return status;
    status = session_start(&side->session, &command, side->log_path, title, err);
    words_release(&command);
    return status;
}

enum status pair_side_open(struct pair_side *side, struct err *err)
{
    struct session *session = &side->session;
    session->phase = EVENT_STARTING;
    enum status status = start(side, err);
    if (status != STATUS_OK || session->has_ended)
        return status;
    side->has_hello = greet_worker(session, &side->hello);
    if (!side->has_hello || session->has_ended || session_is_interrupted(session))
        return STATUS_OK;
    session->phase = EVENT_OPENING;
    struct proto_host_message open = {.type = PROTO_OPEN, .as.open = *side->cell};
    struct proto_worker_message reply;
    if (!session_ask(session, &open, PROTO_READY, &reply))
        return STATUS_OK;
    side->ready = reply.as.ready;
    proto_ready_drop_json(&side->ready);
    side->has_ready = true;
    char text[REASON_TEXT_BYTES];
    if (provenance_is_other_model(side->cell, &side->ready, text))
        session_end(session, VERDICT_INVALID, "params_mismatch", "%s", text);
    return STATUS_OK;
}

/* --- blocks --- */

/* Is the block what was asked for, and its figures such as can be? */
static void judge_block(struct pair_side *side, const struct proto_run *run,
                        const struct proto_block *block, uint64_t host_ns)
{
    struct session *session = &side->session;
    if (block->steps_count != run->steps_count || block->sync != run->sync)
        session_end(session, VERDICT_PROTOCOL_ERROR, "wrong_block",
                    "the worker answered with %" PRIu32 " steps, or synced otherwise; %" PRIu32
                    " were asked for",
                    block->steps_count, run->steps_count);
    else if (!side->hello.is_synthetic && session_saw_less(block->window_ns, host_ns))
        session_end(session, VERDICT_INVALID, "clock_mismatch",
                    "the worker reported a longer block than the host saw pass");
    else if (block->observation.nonfinite > 0)
        session_end(session, VERDICT_INVALID, "nonfinite_loss",
                    "%" PRIu64 " losses or gradient norms were not finite numbers",
                    block->observation.nonfinite);
}

/* False: the session has ended. */
static bool ask_block(struct pair_side *side, uint32_t steps_count, struct proto_block *ret_block)
{
    struct proto_host_message request = {.type = PROTO_RUN, .as.run = {.steps_count = steps_count}};
    request.as.run.sync =
        side->options->policy.is_sync_per_block ? PROTO_SYNC_BLOCK : PROTO_SYNC_STEP;
    struct proto_worker_message reply;
    uint64_t before_ns = clock_now_ns();
    if (!session_ask(&side->session, &request, PROTO_BLOCK, &reply))
        return false;
    judge_block(side, &request.as.run, &reply.as.block, clock_now_ns() - before_ns);
    if (side->session.has_ended) {
        /* The worker itself still takes `close`. */
        side->session.is_alive_expected = true;
        proto_worker_message_release(&reply);
        return false;
    }
    *ret_block = reply.as.block;
    return true;
}

bool pair_side_is_warming(const struct pair_side *side)
{
    return side->warmup.phase == MEASURE_WARMUP;
}

enum status pair_side_warm(struct pair_side *side, uint32_t steps_count, struct err *err)
{
    struct proto_block block;
    side->session.phase = EVENT_WARMUP;
    if (!ask_block(side, steps_count, &block))
        return STATUS_OK;
    enum status status = STATUS_OK;
    if (pair_side_is_warming(side))
        status = measure_add_block(&side->warmup, steps_count, block.window_ns, block.step_ns, err);
    free(block.step_ns);
    return status;
}

double pair_side_step_ns(const struct pair_side *side)
{
    const struct measure_samples *samples = &side->warmup.warmup;
    double recent[RECENT_SAMPLES_MAX];
    size_t count = samples->count < RECENT_SAMPLES_MAX ? samples->count : RECENT_SAMPLES_MAX;
    if (count == 0)
        return 1;
    memcpy(recent, samples->values + (samples->count - count), count * sizeof(recent[0]));
    quantile_sort(recent, count);
    double median = quantile_median(recent, count);
    return median < 1 ? 1 : median;
}

static double median_ns(const uint64_t *step_ns, uint32_t count)
{
    double values[PROTO_BLOCK_STEPS_MAX];
    ASSERT(count >= 1 && count <= PROTO_BLOCK_STEPS_MAX);
    for (uint32_t i = 0; i < count; i++)
        values[i] = (double)step_ns[i];
    quantile_sort(values, count);
    return quantile_median(values, count);
}

/* Synced per step, the lead-in step is the first of the same block. */
static void take_steps(const struct proto_block *block, struct pair_block *ret_block)
{
    uint32_t count = block->steps_count - 1;
    uint64_t first_ns = block->step_ns[0];
    memmove(block->step_ns, block->step_ns + 1, count * sizeof(block->step_ns[0]));
    *ret_block = (struct pair_block){
        .figure_ns = median_ns(block->step_ns, count),
        .window_ns = block->window_ns > first_ns ? block->window_ns - first_ns : 0,
        .step_ns = block->step_ns,
        .steps_count = count,
    };
}

bool pair_side_run(struct pair_side *side, uint32_t steps_count, struct pair_block *ret_block)
{
    struct proto_block block;
    bool is_per_block = side->options->policy.is_sync_per_block;
    side->session.phase = EVENT_MEASURING;
    if (is_per_block && !ask_block(side, 1, &block))
        return false;
    if (is_per_block && !ask_block(side, steps_count, &block))
        return false;
    if (!is_per_block && !ask_block(side, steps_count + 1, &block))
        return false;
    if (block.recompiles_count > 0) {
        session_end(&side->session, VERDICT_INVALID, "recompile",
                    "%" PRIu32 " recompilations inside a measured block", block.recompiles_count);
        side->session.is_alive_expected = true;
        free(block.step_ns);
        return false;
    }
    if (is_per_block)
        *ret_block = (struct pair_block){.figure_ns = (double)block.window_ns / steps_count,
                                         .window_ns = block.window_ns,
                                         .steps_count = steps_count};
    else
        take_steps(&block, ret_block);
    return true;
}

void pair_block_release(struct pair_block *block)
{
    free(block->step_ns);
    block->step_ns = NULL;
}
