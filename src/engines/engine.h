/* engines/engine.h - what an in-tree C engine is.
 *
 * A table of functions, one cell at a time, one thread calling. The worker (engines/worker.h) hosts
 * it in a process of its own and speaks the protocol for it: an engine never sees the host. Engines
 * include only base, spec, data and proto. engines/null/ is the one to copy from; engines/list.c is
 * the list that says which exist.
 *
 * An engine only executes. Warm-up, stopping, statistics and verdicts are the host's.
 */
#ifndef ENGINES_ENGINE_H
#define ENGINES_ENGINE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"
#include "proto/message.h"
#include "spec/cell.h"

/* What a cell will cost, worked out before anything is allocated. */
struct engine_prediction {
    struct proto_memory_parts memory; /* by part; total is what is taken where the model runs */
    double step_ns_estimate;          /* rough: for ETA and --dry-run only; 0 = unknown */
};

/* What a cell's model would run on. Of what is not known, 0 or "". */
struct engine_device {
    bool is_host;                /* this machine's processors and memory; then the rest may be 0 */
    char name[PROTO_WORD_BYTES]; /* the product's: "NVIDIA H100 80GB HBM3" */
    uint32_t count;              /* devices that the cell takes */
    uint64_t memory_bytes;       /* of all of them together */
    uint64_t available_bytes;    /* of that, to this process now */
};

/* How `tokmark worker` was called. Borrowed: the command line. */
struct engine_start {
    const char *python; /* the interpreter asked for; NULL = the engine chooses */
    bool is_server;     /* make workers when asked (client/fork_pool.h) */
    const char *peak;   /* only measure what this device can do, and say it; NULL = no */
    bool is_probe;      /* only say what would run (engines/python/python.h), then end */
};

/* Borrowed, what it points to: static. */
struct engine_ops {
    const char *name;
    const char *summary; /* one line, for --help */
    const char *version;

    /* (optional) default: the functions below. Turns this process into another program that speaks
     * the protocol; returns only with the reason why not. Of the others such an engine may have
     * predict() alone. */
    enum status (*become)(const struct engine_start *start, struct err *err);

    /* Can this cell be run at all? STATUS_UNSUPPORTED and the reason, with the nearest value that
     * is supported, otherwise. Allocates nothing. */
    enum status (*supports)(const struct cell *cell, struct err *ret_why);

    /* (optional) default: unknown. Pure arithmetic; allocates nothing. */
    enum status (*predict)(const struct cell *cell, struct engine_prediction *ret, struct err *err);

    /* (optional) default: what the device's name says (engine_device_of). Takes no memory there. */
    enum status (*device)(const struct cell *cell, struct engine_device *ret, struct err *err);

    /* Allocates everything, makes weights, opens data. After it, run_step allocates nothing.
     * Fills *ret_ready. STATUS_NOMEM for memory, STATUS_INVALID for bad data or weights files. */
    enum status (*open)(const struct cell *cell, void **ret_context, struct proto_ready *ret_ready,
                        struct err *err);

    /* (optional) default: nothing. Before each block, outside its window: what its steps need where
     * the model runs, such as their tokens on the device. The worker reports how long it took. */
    enum status (*prepare)(void *context, uint32_t steps_count, struct err *err);

    /* Exactly one step of the cell's mode. In the timed region: no allocation, no I/O. */
    enum status (*run_step)(void *context, struct err *err);

    /* (optional) default: nothing. Waits until every step given so far is complete. */
    enum status (*synchronize)(void *context, struct err *err);

    /* (optional) default: the worker's clock. A synthetic engine's duration of the step just run.
     */
    uint64_t (*synthetic_step_ns)(void *context);

    /* (optional) default: all absent. Called after a block, outside the timed region: loss and
     * gradient norm of the block's last step, non-finite counts, expert load since open, and the
     * block's time by the device's own events where there is one (device_ns). */
    void (*observe)(void *context, struct proto_observation *ret_observation);

    /* (optional) default: never. Called after a block: compilations that fell into its window. */
    uint32_t (*recompiles)(void *context);

    /* (optional) default: unknown. Bytes by part, as allocated now. The worker adds process RSS. */
    void (*memory)(void *context, struct proto_memory *ret_memory);

    /* (optional) default: records say that the timed step is unchecked. What step `step`, counted
     * from open, must give: loss and logits as observe() has them, from the cell's own tokens, by
     * another way than run_step's and with none of its state but the weights. Asked for after all
     * blocks, in train for the step that comes next, else for the last one done. */
    enum status (*verify)(void *context, uint64_t step, struct proto_observation *ret_expected,
                          struct err *err);

    /* (optional) default: unsupported. See proto_check. */
    enum status (*check)(void *context, const struct proto_check *request,
                         struct proto_check_result *ret_result, struct err *err);

    /* (optional) default: it has no profiler. The next steps, with how long each operator took, and
     * a trace of them as a file. See proto_profile. */
    enum status (*profile)(void *context, const struct proto_profile *request,
                           struct proto_profiled *ret_profiled, struct err *err);

    void (*close)(void *context); /* context may be half-open or NULL */
};

/* The list of engines in this program (engines/list.c). */
extern const struct engine_ops *const engine_list[];
extern const unsigned engine_list_count;

/* NULL when there is none of that name. */
const struct engine_ops *engine_find(const char *name);

/* What the cell takes where its model runs, by its engine's predict(). False: it has none, does not
 * know, or does not support the cell. */
bool engine_predict_bytes(const struct cell *cell, uint64_t *ret_bytes);

/* What the cell would run on, as the engine says, or as far as the device's name does. `ops` NULL:
 * an engine that is not in this program. */
MUST_CHECK enum status engine_device_of(const struct engine_ops *ops, const struct cell *cell,
                                        struct engine_device *ret, struct err *err);

#endif
