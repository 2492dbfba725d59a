#include "base/sysmem.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cgroup.h"
#include "base/procfs.h"

#define KIB 1024ULL
/* v1 says "no limit" with the largest multiple of a page; no machine has an exabyte. */
#define SYSMEM_LIMIT_NONE (1ULL << 60)
/* A full group still reads as something: 0 means that nothing could be read. */
#define SYSMEM_LEAST_BYTES 4096ULL

/* The root is borrowed for the call. */
struct limits {
    const char *root;
    uint64_t total_bytes;
    uint64_t available_bytes;
};

/* What a group may hold: the hard limit, or v2's memory.high, over which the kernel swaps and
 * stalls. */
static uint64_t group_limit(const char *root, const char *dir, bool is_v2)
{
    uint64_t limit = SYSMEM_LIMIT_NONE;
    uint64_t value = 0;
    if (procfs_read_u64(root, dir, is_v2 ? "memory.max" : "memory.limit_in_bytes", &value) &&
        value < limit)
        limit = value;
    if (is_v2 && procfs_read_u64(root, dir, "memory.high", &value) && value < limit)
        limit = value;
    return limit;
}

/* Bytes that the group holds and cannot drop at once: inactive file pages are given back before
 * anything is killed (the same reckoning as the kubelet's working set). */
static bool group_held(const char *root, const char *dir, bool is_v2, uint64_t *ret_bytes)
{
    uint64_t usage = 0;
    if (!procfs_read_u64(root, dir, is_v2 ? "memory.current" : "memory.usage_in_bytes", &usage))
        return false;
    char text[PROCFS_TEXT_BYTES];
    uint64_t reclaimable = 0;
    if (procfs_read(root, dir, "memory.stat", text, sizeof(text)) &&
        !procfs_find_u64(text, is_v2 ? "inactive_file" : "total_inactive_file", &reclaimable))
        reclaimable = 0;
    *ret_bytes = usage > reclaimable ? usage - reclaimable : 0;
    return true;
}

static void apply_group(void *context, const char *dir, bool is_v2)
{
    struct limits *limits = context;
    uint64_t limit = group_limit(limits->root, dir, is_v2);
    if (limit >= SYSMEM_LIMIT_NONE)
        return;
    if (limit < limits->total_bytes)
        limits->total_bytes = limit;
    uint64_t held = 0;
    if (!group_held(limits->root, dir, is_v2, &held))
        return;
    uint64_t left = limit > held ? limit - held : 0;
    if (left < limits->available_bytes)
        limits->available_bytes = left;
}

/* False when not even meminfo can be read. */
static bool read_limits(const char *root, struct limits *ret)
{
    char text[PROCFS_TEXT_BYTES];
    uint64_t total_kib = 0;
    uint64_t available_kib = 0;
    if (!procfs_read(root, "/proc", "meminfo", text, sizeof(text)) ||
        !procfs_find_u64(text, "MemTotal:", &total_kib) ||
        !procfs_find_u64(text, "MemAvailable:", &available_kib))
        return false;
    *ret = (struct limits){
        .root = root, .total_bytes = total_kib * KIB, .available_bytes = available_kib * KIB};
    cgroup_walk(root, "memory", apply_group, ret);
    if (ret->available_bytes < SYSMEM_LEAST_BYTES)
        ret->available_bytes = SYSMEM_LEAST_BYTES;
    return true;
}

uint64_t sysmem_available_bytes_at(const char *root)
{
    struct limits limits;
    return read_limits(root, &limits) ? limits.available_bytes : 0;
}

uint64_t sysmem_total_bytes_at(const char *root)
{
    struct limits limits;
    return read_limits(root, &limits) ? limits.total_bytes : 0;
}

uint64_t sysmem_available_bytes(void)
{
    return sysmem_available_bytes_at("");
}

uint64_t sysmem_total_bytes(void)
{
    return sysmem_total_bytes_at("");
}

bool sysmem_process_rss(pid_t pid, uint64_t *ret_rss_bytes, uint64_t *ret_peak_bytes)
{
    char dir[32];
    (void)snprintf(dir, sizeof(dir), "/proc/%ld", (long)pid);
    char text[PROCFS_TEXT_BYTES];
    uint64_t rss_kib = 0;
    uint64_t peak_kib = 0;
    /* A zombie still has the file, but no memory and no such lines. */
    if (!procfs_read("", dir, "status", text, sizeof(text)) ||
        !procfs_find_u64(text, "VmRSS:", &rss_kib) || !procfs_find_u64(text, "VmHWM:", &peak_kib))
        return false;
    *ret_rss_bytes = rss_kib * KIB;
    *ret_peak_bytes = peak_kib * KIB;
    return true;
}

bool sysmem_reset_own_peak(void)
{
    int fd = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool is_reset = write(fd, "5", 1) == 1;
    (void)close(fd);
    return is_reset;
}

/* The root is borrowed for the call. */
struct oom_search {
    const char *root;
    bool is_found;
    uint64_t count;
};

/* Our own group's counter is enough: the kernel counts a kill at the victim's group, whatever
 * limit caused it, and a worker lives in our group. The first group that has one is taken. */
static void find_oom_kills(void *context, const char *dir, bool is_v2)
{
    struct oom_search *search = context;
    char text[PROCFS_TEXT_BYTES];
    if (!search->is_found &&
        procfs_read(search->root, dir, is_v2 ? "memory.events" : "memory.oom_control", text,
                    sizeof(text)))
        search->is_found = procfs_find_u64(text, "oom_kill", &search->count);
}

bool sysmem_oom_kills_at(const char *root, uint64_t *ret_count)
{
    struct oom_search search = {.root = root};
    cgroup_walk(root, "memory", find_oom_kills, &search);
    char text[PROCFS_TEXT_BYTES];
    if (!search.is_found && procfs_read(root, "/proc", "vmstat", text, sizeof(text)))
        search.is_found = procfs_find_u64(text, "oom_kill", &search.count);
    if (search.is_found)
        *ret_count = search.count;
    return search.is_found;
}

bool sysmem_oom_kills(uint64_t *ret_count)
{
    return sysmem_oom_kills_at("", ret_count);
}
