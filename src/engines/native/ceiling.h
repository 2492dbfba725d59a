/* engines/native/ceiling.h - what these processors can do at best: multiply-adds in registers, our
 * own matmul, and memory. `tokmark peak` prints it, and utilization is measured against it.
 */
#ifndef ENGINES_NATIVE_CEILING_H
#define ENGINES_NATIVE_CEILING_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

/* Per second: the best of many looks, since others only make one slower. Of memory, the bytes that
 * the loop names: writes that pass the caches by move no others. */
struct ceiling {
    double fma_flops;    /* fp32, in registers; the most that any kernel could reach */
    double matmul_flops; /* fp32, the best of a few large squares */
    double read_bytes;
    double write_bytes;
    double triad_bytes; /* a = b + s c, two read and one written */
    double launch_ns;   /* of an empty loop over all threads */
};

struct ceiling_effort {
    uint64_t look_ns;         /* each rate is looked at for so long, once at least */
    size_t array_bytes;       /* of each of three arrays; a multiple of 64 */
    size_t side_max;          /* of the squares that are multiplied */
    uint64_t (*now_ns)(void); /* a clock that never goes back */
};

/* 0.6 s; arrays of four times the last cache, as STREAM asks, of 64 MiB to 1 GiB, and of an eighth
 * of the free memory at most; 2048. */
struct ceiling_effort ceiling_effort(void);

/* With that, takes some 3 s. STATUS_NOMEM. */
MUST_CHECK enum status ceiling_measure(unsigned threads_count, const struct ceiling_effort *effort,
                                       struct ceiling *ret_ceiling, struct err *err);

#endif
