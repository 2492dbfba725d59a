#include "client/watch.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/reserve.h"
#include "base/sysmem.h"

#define ANCESTORS_MAX 64
/* Memory that a worker can touch in a second: the kernel clears pages for it, at some GiB/s a
 * processor. */
#define GROWTH_BYTES_PER_S (16ULL << 30)

void watch_begin(struct watch *watch, pid_t root_pid, uint64_t limit_bytes)
{
    *watch = (struct watch){.root_pid = root_pid,
                            .pid = root_pid,
                            .limit_bytes = limit_bytes,
                            .reserve_bytes = reserve_host_bytes()};
    watch->has_oom_kills = sysmem_oom_kills(&watch->oom_kills);
}

/* Parent of a process; 0 when it is gone. */
static pid_t parent_of(pid_t pid)
{
    char path[64];
    (void)snprintf(path, sizeof(path), "/proc/%ld/stat", (long)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    char text[512];
    ssize_t got = read(fd, text, sizeof(text) - 1);
    (void)close(fd);
    if (got <= 0)
        return 0;
    text[got] = '\0';
    /* "pid (name) state ppid ...": the name may hold anything, so count from its last ')'. */
    const char *behind_name = strrchr(text, ')');
    if (behind_name == NULL || strlen(behind_name) < 5)
        return 0;
    return (pid_t)strtol(behind_name + 4, NULL, 10);
}

void watch_set_worker(struct watch *watch, int64_t pid)
{
    if (pid <= 1 || pid > INT32_MAX)
        return;
    pid_t ancestor = (pid_t)pid;
    for (int i = 0; i < ANCESTORS_MAX && ancestor > 1 && ancestor != watch->root_pid; i++)
        ancestor = parent_of(ancestor);
    if (ancestor == watch->root_pid)
        watch->pid = (pid_t)pid;
}

enum watch_finding watch_judge(const struct watch *watch, uint64_t rss_bytes,
                               uint64_t available_bytes)
{
    if (watch->limit_bytes > 0 && rss_bytes > watch->limit_bytes)
        return WATCH_OVER_LIMIT;
    if (available_bytes > 0 && available_bytes < watch->reserve_bytes &&
        rss_bytes > watch->reserve_bytes)
        return WATCH_HOST_LOW;
    return WATCH_FINE;
}

struct watch_look watch_take_look(const struct watch *watch)
{
    struct watch_look look = {.finding = WATCH_FINE};
    uint64_t peak_bytes = 0;
    if (!sysmem_process_rss(watch->pid, &look.rss_bytes, &peak_bytes))
        return look;
    look.available_bytes = sysmem_available_bytes();
    look.finding = watch_judge(watch, look.rss_bytes, look.available_bytes);
    return look;
}

uint64_t watch_pause_ns(const struct watch *watch, const struct watch_look *look)
{
    uint64_t left_bytes = UINT64_MAX;
    if (watch->limit_bytes > 0)
        left_bytes =
            watch->limit_bytes > look->rss_bytes ? watch->limit_bytes - look->rss_bytes : 0;
    uint64_t host_bytes = look->available_bytes > watch->reserve_bytes
                              ? look->available_bytes - watch->reserve_bytes
                              : 0;
    if (host_bytes < left_bytes)
        left_bytes = host_bytes;
    uint64_t pause_ns = left_bytes / (2 * GROWTH_BYTES_PER_S / NS_PER_S);
    if (pause_ns < WATCH_PAUSE_NS_MIN)
        return WATCH_PAUSE_NS_MIN;
    return pause_ns < WATCH_PAUSE_NS_MAX ? pause_ns : WATCH_PAUSE_NS_MAX;
}

bool watch_saw_oom_kill(const struct watch *watch)
{
    uint64_t now = 0;
    return watch->has_oom_kills && sysmem_oom_kills(&now) && now > watch->oom_kills;
}
