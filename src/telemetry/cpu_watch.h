/* telemetry/cpu_watch.h - what happened on a worker's processors in a lap, the time between two
 * looks: did its threads wait for one, who else used them, did a hypervisor or a control group
 * withhold them? Any process of this machine can be watched, whatever its language: nothing is
 * asked of it. A look reads a file for each of its threads and /proc/stat; never inside a block.
 *
 * The kernel counts a thread's time on a processor, and that of its waiting for one, in ns, but
 * idle time in ticks of 10 ms as a rule: what others used is known to about one tick a
 * processor, so that a lap must be some ten ticks long to say much of it.
 */
#ifndef TELEMETRY_CPU_WATCH_H
#define TELEMETRY_CPU_WATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/file.h"
#include "telemetry/cpu_list.h"

#define CPU_WATCH_GROUPS_MAX 2
/* Of a thread's wait, so much for each time that it came to run is its waking up, and nobody
 * else's doing: an idle processor needs up to so long. Who takes a processor from another keeps it
 * for a millisecond or more. */
#define CPU_WATCH_WAKE_NS 50000

/* What the kernel has counted of one thread since it began. */
struct cpu_watch_thread {
    pid_t pid, tid;
    uint64_t ran_ns, waited_ns, runs_count;
    bool is_here; /* seen at the present look */
};

struct cpu_watch_process {
    pid_t pid, parent;
};

/* A control group, ours or one above it, with a limit of processor time. */
struct cpu_watch_group {
    char dir[FILE_PATH_BYTES];
    bool is_v2;
};

struct cpu_watch {
    const char *root; /* borrowed; as in base/procfs.h */
    pid_t groups[CPU_WATCH_GROUPS_MAX];
    size_t groups_count;
    struct cpu_list cpus; /* those that the workers may use, and those that share a core with one */
    unsigned cpus_count;
    unsigned cpu_last;
    struct cpu_watch_process *processes; /* owned: of the whole machine, the workers' first */
    size_t members_count, processes_count, processes_capacity;
    struct cpu_watch_thread *threads; /* owned */
    size_t threads_count, threads_capacity;
    struct cpu_watch_group *limits; /* owned */
    size_t limits_count;
    char *text; /* owned: room for the processors' lines */
    size_t text_bytes;
    uint64_t *idle_ns;   /* owned: cpu_last + 1 of them, at the last look */
    uint64_t *stolen_ns; /* owned: the same */
    uint64_t throttled_ns;
    uint64_t at_ns, harness_ns; /* of the last look */
    bool has_looked;            /* there is one to compare with */
};

struct cpu_lap {
    bool is_known;
    bool knows_waits; /* the kernel counts waiting for a processor */
    unsigned cpus_count;
    uint64_t wall_ns;
    uint64_t waited_ns;    /* the thread that waited longest, less CPU_WATCH_WAKE_NS a run */
    uint64_t foreign_ns;   /* processors' time of others; stolen time is in it */
    uint64_t uncertain_ns; /* standard error of foreign_ns, from the ticks */
    uint64_t stolen_ns;    /* processors' time that a hypervisor gave to others */
    uint64_t throttled_ns; /* that a control group's limit withheld */
};

/* `workers`: of whom the allowed processors count; `groups`: whose time is not foreign, one for
 * each worker; nor is that of processes which these have started, whatever group they are in:
 * mpirun and torchrun give each rank one of its own. False where /proc does not say which
 * processors those are. cpu_watch_close() in any case. */
bool cpu_watch_open(struct cpu_watch *watch, const char *root, const pid_t *workers,
                    const pid_t *groups, size_t count);
void cpu_watch_close(struct cpu_watch *watch);
/* What happened since the last call; a new lap begins. `now_ns`: any clock that goes with the
 * machine's; `harness_ns`: processor time of this process so far, which is not foreign. */
void cpu_watch_lap(struct cpu_watch *watch, uint64_t now_ns, uint64_t harness_ns,
                   struct cpu_lap *ret_lap);
void cpu_lap_add(struct cpu_lap *sum, const struct cpu_lap *lap);

#endif
