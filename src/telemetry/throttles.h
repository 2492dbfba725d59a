/* telemetry/throttles.h - did a worker's processors get too hot? Two readings, before and after;
 * never inside a block.
 */
#ifndef TELEMETRY_THROTTLES_H
#define TELEMETRY_THROTTLES_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Times that a core or package that `worker` may run on was throttled for its temperature. */
struct throttles {
    bool is_known;
    uint64_t count;
};

/* `root` as in base/procfs.h. */
void throttles_read_at(const char *root, pid_t worker, struct throttles *ret_throttles);
void throttles_read(pid_t worker, struct throttles *ret_throttles);

#endif
