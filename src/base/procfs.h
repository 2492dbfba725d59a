/* base/procfs.h - reading the small text files of procfs, sysfs and cgroups.
 *
 * Every function takes a `root` that is put before the path: "" is this machine, anything else a
 * tree of files laid out like one (tests). A file that is missing, unreadable or not of the
 * expected form is simply false: on some kernel every one of them is missing.
 */
#ifndef BASE_PROCFS_H
#define BASE_PROCFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Enough for meminfo, a cgroup's memory.stat and /proc/PID/status. */
#define PROCFS_TEXT_BYTES 16384

/* The first `text_bytes - 1` bytes of <root><dir>/<name>, without line ends at the end. False when
 * it cannot be read; `text` is then empty. */
bool procfs_read(const char *root, const char *dir, const char *name, char *text,
                 size_t text_bytes);
/* A file that holds one unsigned number and nothing else. */
bool procfs_read_u64(const char *root, const char *dir, const char *name, uint64_t *ret_value);

/* The number behind `key` at the start of a line: "MemTotal:  123 kB" with key "MemTotal:", or
 * "oom_kill 0" with key "oom_kill". The unit is the caller's to know. */
bool procfs_find_u64(const char *text, const char *key, uint64_t *ret_value);

#endif
