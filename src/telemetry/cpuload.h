/* telemetry/cpuload.h - who used a worker's processors while it was measured: the worker's process
 * group and the harness, or others; and did they get too hot? Two readings, before and after; never
 * inside a block.
 */
#ifndef TELEMETRY_CPULOAD_H
#define TELEMETRY_CPULOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* What `worker` may run on, and what has run there; counted by the kernel since it started. */
struct cpuload {
    bool is_known;
    unsigned cpus_count;
    uint64_t busy_ticks;  /* of these processors: all but idle and waiting; stolen time is busy */
    uint64_t total_ticks; /* all of their time */
    uint64_t own_ticks;   /* of the process groups and the harness */
};

/* `root` as in base/procfs.h. `worker`: whose allowed processors count; `groups`: process groups of
 * workers, `harness`: a process, whose time is not foreign. */
void cpuload_read_at(const char *root, pid_t worker, const pid_t *groups, size_t groups_count,
                     pid_t harness, struct cpuload *ret_load);
void cpuload_read(pid_t worker, const pid_t *groups, size_t groups_count, pid_t harness,
                  struct cpuload *ret_load);

/* Times that a core or package that `worker` may run on was throttled for its temperature. */
struct throttles {
    bool is_known;
    uint64_t count;
};

void throttles_read_at(const char *root, pid_t worker, struct throttles *ret_throttles);
void throttles_read(pid_t worker, struct throttles *ret_throttles);

/* Share of the processors' time between two readings that others used or that was stolen, in %, 0
 * to 100. NULL, or why it is not known: "not_readable", or "too_short" where the ticks in which the
 * kernel counts are too coarse. */
const char *cpuload_foreign_percent(const struct cpuload *before, const struct cpuload *after,
                                    double *ret_percent);

#endif
