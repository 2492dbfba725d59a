/* engines/native/operation.h - the operations of a step by name, for `tokmark profile`.
 *
 * OPERATION stands at the beginning of a block that is one operation. Without a log, which is how
 * steps are timed, it costs a comparison at either end of the block. An operation within another
 * one is part of that.
 */
#ifndef ENGINES_NATIVE_OPERATION_H
#define ENGINES_NATIVE_OPERATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

struct operation {
    const char *name; /* borrowed: static */
    double flops;     /* of this call; 0 = none that are counted */
    uint64_t begin_ns, end_ns;
};

/* Of one thread: the one that calls, and waits for the others. */
struct operation_log {
    struct operation *entries; /* owned */
    size_t count, capacity;
    bool is_inside; /* an operation has begun and not ended */
    bool is_full;   /* for want of memory: what came later is missing */
};

/* The log is borrowed for the block; NULL: nothing is to be said at its end. */
struct operation_mark {
    struct operation_log *log;
};

void operation_begin(struct operation_mark *mark, const char *name, double flops);
void operation_finish(struct operation_log *log);
void operation_log_release(struct operation_log *log);

static inline void operation_end(struct operation_mark *mark)
{
    if (mark->log != NULL)
        operation_finish(mark->log);
}

/* `flops` is worked out only where there is a log. */
#define OPERATION(compute, name, flops)                                             \
    struct operation_mark operation_mark CLEANUP(operation_end) = {(compute)->log}; \
    if (operation_mark.log != NULL)                                                 \
    operation_begin(&operation_mark, name, flops)

#endif
