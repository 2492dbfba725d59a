/* telemetry/cpu_list.h - sets of processor numbers, as the kernel writes them. `root` as in
 * base/procfs.h. */
#ifndef TELEMETRY_CPU_LIST_H
#define TELEMETRY_CPU_LIST_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define CPU_LIST_CPUS_MAX 8192

/* A set of processor numbers. */
struct cpu_list {
    uint64_t bits[CPU_LIST_CPUS_MAX / 64];
};

/* "0-3,8,10-11" as the kernel writes it; false when it is anything else, or empty. */
bool cpu_list_parse(const char *text, struct cpu_list *ret_list);
bool cpu_list_has(const struct cpu_list *list, unsigned cpu);
unsigned cpu_list_count(const struct cpu_list *list);
/* The list that is the text of a file. */
bool cpu_list_read(const char *root, const char *dir, const char *name, struct cpu_list *ret_list);
/* The processors that process `pid` may run on. */
bool cpu_list_read_allowed(const char *root, pid_t pid, struct cpu_list *ret_list);

#endif
