#include "engines/native/operation.h"

#include <stdlib.h>

#include "base/clock.h"

#define CAPACITY_FIRST ((size_t)4096)

/* Room for one more. */
static bool grow(struct operation_log *log)
{
    if (log->count < log->capacity)
        return true;
    size_t capacity = log->capacity > 0 ? 2 * log->capacity : CAPACITY_FIRST;
    struct operation *entries = realloc(log->entries, capacity * sizeof(*entries));
    if (entries == NULL)
        return false;
    log->entries = entries;
    log->capacity = capacity;
    return true;
}

void operation_begin(struct operation_mark *mark, const char *name, double flops)
{
    struct operation_log *log = mark->log;
    log->is_full = log->is_full || (!log->is_inside && !grow(log));
    if (log->is_inside || log->is_full) {
        mark->log = NULL;
        return;
    }
    log->is_inside = true;
    log->entries[log->count++] =
        (struct operation){.name = name, .flops = flops, .begin_ns = clock_now_ns()};
}

void operation_finish(struct operation_log *log)
{
    log->entries[log->count - 1].end_ns = clock_now_ns();
    log->is_inside = false;
}

void operation_log_release(struct operation_log *log)
{
    free(log->entries);
    *log = (struct operation_log){0};
}
