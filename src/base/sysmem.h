/* base/sysmem.h - host memory, from procfs and cgroups. Used by engines (does it fit?) and by the
 * supervisor (is a worker eating the machine?). */
#ifndef BASE_SYSMEM_H
#define BASE_SYSMEM_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Bytes a process could still take without swapping or being killed: the least of MemAvailable and
 * what is left under every cgroup memory limit (v1 and v2) on the way up; page cache that the
 * kernel drops first counts as left. 0 if unreadable, and only then. */
uint64_t sysmem_available_bytes(void);
/* MemTotal, or the tightest cgroup limit if lower. */
uint64_t sysmem_total_bytes(void);

/* Resident set of a process now, and its highest since start or the last reset. False if it is
 * gone. */
bool sysmem_process_rss(pid_t pid, uint64_t *ret_rss_bytes, uint64_t *ret_peak_bytes);
/* Sets this process's own peak back to its present use (writes 5 to /proc/self/clear_refs). */
bool sysmem_reset_own_peak(void);

/* Kernel out-of-memory kills so far (memory cgroup's counter, else the machine's). False if
 * unknown. */
bool sysmem_oom_kills(uint64_t *ret_count);

/* The same on a tree of files under `root` (base/procfs.h), for tests; "" is this machine. */
uint64_t sysmem_available_bytes_at(const char *root);
uint64_t sysmem_total_bytes_at(const char *root);
bool sysmem_oom_kills_at(const char *root, uint64_t *ret_count);

#endif
