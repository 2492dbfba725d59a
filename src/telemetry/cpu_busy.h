/* telemetry/cpu_busy.h - is the machine busy before anything is measured, and by whom? Two looks
 * with a moment between them, which the caller waits for.
 */
#ifndef TELEMETRY_CPU_BUSY_H
#define TELEMETRY_CPU_BUSY_H

#include "telemetry/cpu_watch.h"

#define CPU_BUSY_WAIT_NS    (400 * NS_PER_MS)
#define CPU_BUSY_PERCENT    20.0 /* of the processors' time: worth saying */
#define CPU_BUSY_TEXT_BYTES 256
#define CPU_BUSY_NAME_BYTES 32

/* What the kernel has counted of one process since it began. */
struct cpu_busy_process {
    pid_t pid;
    uint64_t ticks;
    char name[CPU_BUSY_NAME_BYTES];
};

struct cpu_busy_list {
    struct cpu_busy_process *items; /* owned */
    size_t count, capacity;
};

struct cpu_busy {
    const char *root; /* borrowed; as in base/procfs.h */
    pid_t self;
    bool is_open;
    uint64_t begin_ns;
    struct cpu_watch watch;
    struct cpu_busy_list before;
};

/* `self`: the process whose processors count, and whose own time and process group's do not.
 * `now_ns` and `harness_ns` as for cpu_watch_lap(). cpu_busy_close() in any case. */
void cpu_busy_begin(struct cpu_busy *busy, const char *root, pid_t self, uint64_t now_ns,
                    uint64_t harness_ns);
/* True with "2 CPUs 70 % busy: python3 98 %, cc1 41 % of one CPU"; false where it is quiet, or not
 * known. */
bool cpu_busy_end(struct cpu_busy *busy, uint64_t now_ns, uint64_t harness_ns,
                  char ret_text[CPU_BUSY_TEXT_BYTES]);
void cpu_busy_close(struct cpu_busy *busy);

#endif
