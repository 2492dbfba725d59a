/* engines/native/ceiling.h - what these processors can do at best: multiply-adds in registers, our
 * own matmul, and memory. `tokmark peak` prints it, and utilization is measured against it.
 */
#ifndef ENGINES_NATIVE_CEILING_H
#define ENGINES_NATIVE_CEILING_H

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

/* Takes some 3 s. STATUS_NOMEM. */
MUST_CHECK enum status ceiling_measure(unsigned threads_count, struct ceiling *ret_ceiling,
                                       struct err *err);

#endif
