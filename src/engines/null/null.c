/* To write an engine: copy this folder, fill in the hooks, add the table to engines/list.c. Each
 * comment says what the hook is for and what the null engine leaves out; engine.h has the full
 * contract. Optional hooks may simply be left NULL. */
#include "engines/null/null.h"
#include "spec/device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Everything that a step needs, made once by open(). There are no globals. */
struct null_context {
    uint64_t steps_done;
};

/* Says no before anything is allocated, and names what would work instead. An engine never runs
 * something else than it was asked to: here, a device that would not be used. */
static enum status null_supports(const struct cell *cell, struct err *ret_why)
{
    if (!device_is_host(cell->device))
        return ERR(ret_why, STATUS_UNSUPPORTED,
                   "the null engine uses no device '%s'; the nearest is 'cpu'", cell->device);
    return STATUS_OK;
}

static struct proto_memory_parts null_parts(void)
{
    return (struct proto_memory_parts){
        .is_known = true,
        .other_bytes = sizeof(struct null_context),
        .total_bytes = sizeof(struct null_context),
    };
}

/* Arithmetic on the cell alone: memory by part, operations, a rough time. With is_known the worker
 * refuses a cell that does not fit before open() is called. */
static enum status null_predict(const struct cell *cell, struct engine_prediction *ret,
                                struct err *err)
{
    (void)cell;
    (void)err;
    *ret = (struct engine_prediction){.memory = null_parts()};
    return STATUS_OK;
}

/* Allocates all that will ever be needed (run_step must not), makes or reads the weights, opens the
 * data, and says in *ret_ready what really will run. Fields left empty or 0 are unknown; load_ns
 * would be the time that the weights took. On failure it frees what it took. */
static enum status null_open(const struct cell *cell, void **ret_context,
                             struct proto_ready *ret_ready, struct err *err)
{
    struct null_context *context = calloc(1, sizeof(*context));
    if (context == NULL)
        return ERR(err, STATUS_NOMEM, "no memory for the null engine");
    *ret_ready = (struct proto_ready){
        .params_total = model_params_total(&cell->model),
        .params_active = model_params_active(&cell->model),
        .threads = 1,
    };
    (void)snprintf(ret_ready->model_source, sizeof(ret_ready->model_source), "%s",
                   cell->model_source);
    (void)snprintf(ret_ready->backend, sizeof(ret_ready->backend), "none");
    (void)snprintf(ret_ready->tokens_data, sizeof(ret_ready->tokens_data), "none");
    (void)snprintf(ret_ready->notes, sizeof(ret_ready->notes),
                   "null engine: no model is run, the times are the harness's own");
    *ret_context = context;
    return STATUS_OK;
}

/* One step: a forward pass (infer), a forward, backward and optimizer step (train), or one token
 * (decode), on the tokens of step `steps_done` (data/tokens.h). Timed: no allocation, no I/O. */
static enum status null_run_step(void *context, struct err *err)
{
    (void)err;
    struct null_context *null = context;
    null->steps_done++;
    return STATUS_OK;
}

/* For engines that queue work: returns when all of it is done. */
static enum status null_synchronize(void *context, struct err *err)
{
    (void)context;
    (void)err;
    return STATUS_OK;
}

/* After a block, not timed: loss and gradient norm of its last step, tokens per expert. The caller
 * has set everything to "not known"; there is nothing to know here. */
static void null_observe(void *context, struct proto_observation *ret_observation)
{
    (void)context;
    (void)ret_observation;
}

/* Bytes held now, by part. The worker adds the process's own values. */
static void null_memory(void *context, struct proto_memory *ret_memory)
{
    (void)context;
    ret_memory->parts = null_parts();
}

/* Called once, whatever happened before, even with NULL. */
static void null_close(void *context)
{
    free(context);
}

/* Not here: an engine on a device says which (`device`), puts a block's data there before its
 * window
 * (`prepare`), counts compilations in it (`recompiles`), and lists the flags of `run` that only
 * some engines take (`flags`). */
const struct engine_ops null_engine = {
    .name = "null",
    .summary = "does nothing: measures the harness",
    .version = "1",
    .supports = null_supports,
    .predict = null_predict,
    .open = null_open,
    .run_step = null_run_step,
    .synchronize = null_synchronize,
    .synthetic_step_ns = NULL, /* only for made-up time: marks every record as synthetic */
    .observe = null_observe,
    .memory = null_memory,
    .check = NULL, /* numeric parity (proto_check): nothing is computed here */
    .close = null_close,
};
