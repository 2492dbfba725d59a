/* client/watch.h - is a worker eating the machine? Looked at while the host waits, twenty times
 * a second where memory is short and twice where there is plenty (a look takes time on a processor
 * that the worker may want), so that the cell ends as a record and not the machine in swap. */
#ifndef CLIENT_WATCH_H
#define CLIENT_WATCH_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/clock.h"

struct watch {
    pid_t root_pid;         /* the child that was started */
    pid_t pid;              /* the worker itself, when that is a descendant of the child */
    uint64_t limit_bytes;   /* 0 = none */
    uint64_t reserve_bytes; /* left to the rest of the host; 0 = not watched */
    bool has_oom_kills;
    uint64_t oom_kills; /* kernel's count when the watch began */
};

enum watch_finding { WATCH_FINE, WATCH_OVER_LIMIT, WATCH_HOST_LOW };

struct watch_look {
    enum watch_finding finding;
    uint64_t rss_bytes;
    uint64_t available_bytes; /* of the host; 0 = unknown */
};

#define WATCH_PAUSE_NS_MIN (50 * NS_PER_MS)
#define WATCH_PAUSE_NS_MAX (500 * NS_PER_MS)

void watch_begin(struct watch *watch, pid_t root_pid, uint64_t limit_bytes);
/* The process id that the worker gave, taken only if it is the child or a descendant of it: behind
 * ssh or in a container it means nothing here. */
void watch_set_worker(struct watch *watch, int64_t pid);
struct watch_look watch_take_look(const struct watch *watch);
/* The rule by itself. A host that is low on memory counts against the worker only if the worker
 * holds more than the reserve: otherwise someone else is the eater. */
enum watch_finding watch_judge(const struct watch *watch, uint64_t rss_bytes,
                               uint64_t available_bytes);
/* How long until the next look: half of what the eager could need to come to a limit or the
 * reserve, within the bounds above. */
uint64_t watch_pause_ns(const struct watch *watch, const struct watch_look *look);
/* Has the kernel killed any process for memory since the watch began? */
bool watch_saw_oom_kill(const struct watch *watch);

#endif
