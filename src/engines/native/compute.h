/* engines/native/compute.h - what every operation runs on. */
#ifndef ENGINES_NATIVE_COMPUTE_H
#define ENGINES_NATIVE_COMPUTE_H

#include <stddef.h>

#include "engines/native/operation.h"
#include "engines/native/pool.h"

struct compute {
    struct pool *pool;      /* borrowed */
    void *gemm_workspace;   /* borrowed: for gemm() on the pool */
    char *thread_workspace; /* borrowed: for thread i from i * thread_workspace_bytes on; first for
                               gemm_serial(), then for scores */
    size_t thread_workspace_bytes;
    struct operation_log *log; /* borrowed; NULL but in a profile: steps are timed without */
};

/* Items of a row-wise loop worth a thread: rows of about so many floats together. */
#define COMPUTE_GRAIN_FLOATS ((size_t)16384)

static inline size_t compute_row_grain(size_t row_floats)
{
    return row_floats >= COMPUTE_GRAIN_FLOATS ? 1 : COMPUTE_GRAIN_FLOATS / (row_floats + 1) + 1;
}

#endif
