/* telemetry/cpu_counters.h - the processors' own counters over a process and all of its threads, by
 * perf_event_open(2): what runs in user mode, as far as the kernel lets one look.
 */
#ifndef TELEMETRY_CPU_COUNTERS_H
#define TELEMETRY_CPU_COUNTERS_H

#include <linux/perf_event.h>
#include <stdint.h>
#include <sys/types.h>

enum cpu_counter {
    CPU_COUNTER_INSTRUCTIONS,
    CPU_COUNTER_CYCLES,
    CPU_COUNTER_LLC_MISSES, /* loads and stores that the last cache did not hold */
    CPU_COUNTERS_COUNT
};

/* `missing`: why it is not known, a word; NULL: it is. Borrowed: static. */
struct cpu_count {
    const char *missing;
    uint64_t value;
};

/* perf_event_open(2) for a thread on any processor: a descriptor, or -1 and errno. */
typedef int cpu_counters_open(struct perf_event_attr *attr, pid_t thread);

struct cpu_counters; /* opaque */

/* Counts from now on what the process's threads do, and those that they start. NULL, and the reason
 * for all: `no_permission` (kernel.perf_event_paranoid, or a container's filter of system calls),
 * `no_counters` (a virtual machine without them, or an old kernel), `too_many_threads`,
 * `worker_not_seen`. `open_one` NULL: the system's. */
struct cpu_counters *cpu_counters_start(pid_t pid, cpu_counters_open *open_one,
                                        const char **ret_missing);
/* What was counted until now; the object is gone. NULL is allowed and gives nothing. A counter may
 * have a reason of its own: as above, or `not_scheduled` (others had it all the time). */
void cpu_counters_stop(struct cpu_counters *counters, struct cpu_count ret[CPU_COUNTERS_COUNT]);

#endif
