#include "telemetry/cpuload.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/procfs.h"
#include "telemetry/cpuinfo.h"

/* The lines of 8192 processors; what follows them in the file is not needed. */
#define STAT_BYTES (1U << 20)
/* Of 10 ms as a rule, and off by one or two per processor. */
#define TICKS_MIN 50

/* --- the processors --- */

/* The next `count` numbers of a line; false when there are fewer. */
static bool take_numbers(const char *text, uint64_t *ret_numbers, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char *end = NULL;
        ret_numbers[i] = strtoull(text, &end, 10);
        if (end == text)
            return false;
        text = end;
    }
    return true;
}

enum cpu_column {
    CPU_USER,
    CPU_NICE,
    CPU_SYSTEM,
    CPU_IDLE,
    CPU_WAITING,
    CPU_IRQ,
    CPU_SOFTIRQ,
    CPU_STOLEN,
    CPU_COLUMNS_COUNT
};

/* "cpuN user nice system idle iowait irq softirq steal guest ...": guests are in user. */
static void add_line(const char *line, const struct cpu_list *cpus, struct cpuload *load)
{
    uint64_t ticks[CPU_COLUMNS_COUNT];
    char *end = NULL;
    /* "cpu " with a blank is the sum of all. */
    if (line[3] < '0' || line[3] > '9')
        return;
    unsigned long cpu = strtoul(line + 3, &end, 10);
    if (cpu >= CPUINFO_CPUS_MAX || !cpu_list_has(cpus, (unsigned)cpu) ||
        !take_numbers(end, ticks, CPU_COLUMNS_COUNT))
        return;
    load->cpus_count++;
    for (size_t i = 0; i < CPU_COLUMNS_COUNT; i++) {
        load->busy_ticks += i == CPU_IDLE || i == CPU_WAITING ? 0 : ticks[i];
        load->total_ticks += ticks[i];
    }
}

static void read_cpus(const char *root, const struct cpu_list *cpus, struct cpuload *load)
{
    char *text = malloc(STAT_BYTES);
    if (text != NULL && procfs_read(root, "/proc", "stat", text, STAT_BYTES))
        for (const char *line = text; line != NULL && strncmp(line, "cpu", 3) == 0;
             line = strchr(line, '\n') != NULL ? strchr(line, '\n') + 1 : NULL)
            add_line(line, cpus, load);
    free(text);
}

static bool read_allowed(const char *root, pid_t pid, struct cpu_list *ret_cpus)
{
    static const char key[] = "Cpus_allowed_list:";
    char dir[32];
    char text[PROCFS_TEXT_BYTES];
    (void)snprintf(dir, sizeof(dir), "/proc/%ld", (long)pid);
    if (!procfs_read(root, dir, "status", text, sizeof(text)))
        return false;
    char *found = strstr(text, key);
    if (found == NULL)
        return false;
    found += strlen(key);
    found += strspn(found, " \t");
    found[strcspn(found, "\n")] = '\0';
    return cpu_list_parse(found, ret_cpus);
}

/* --- the processes --- */

/* Ticks of one process and of the children it has collected, if it is one of ours. */
static uint64_t own_ticks_of(const char *root, const char *name, const pid_t *groups,
                             size_t groups_count, pid_t harness)
{
    char dir[300];
    char text[PROCFS_TEXT_BYTES];
    (void)snprintf(dir, sizeof(dir), "/proc/%s", name);
    if (!procfs_read(root, dir, "stat", text, sizeof(text)))
        return 0;
    /* "pid (name) state ppid pgrp ...": the name may hold anything, so count from its last ')'.
     * Behind the state: 1 is pgrp, 10 to 13 are user, system, and both of collected children. One
     * of those between may be -1, which is read as a number, too. */
    const char *behind_name = strrchr(text, ')');
    uint64_t numbers[14];
    if (behind_name == NULL || strlen(behind_name) < 4 ||
        !take_numbers(behind_name + 3, numbers, ARRAY_COUNT(numbers)))
        return 0;
    /* The harness collects workers: what those took in the end is no time of its own. */
    if (strtol(name, NULL, 10) == (long)harness)
        return numbers[10] + numbers[11];
    bool is_in_group = false;
    for (size_t i = 0; i < groups_count; i++)
        is_in_group = is_in_group || numbers[1] == (uint64_t)groups[i];
    return is_in_group ? numbers[10] + numbers[11] + numbers[12] + numbers[13] : 0;
}

static bool read_own(const char *root, const pid_t *groups, size_t groups_count, pid_t harness,
                     uint64_t *ret_ticks)
{
    char path[FILE_PATH_BYTES];
    (void)snprintf(path, sizeof(path), "%s/proc", root);
    DIR *dir = opendir(path);
    if (dir == NULL)
        return false;
    *ret_ticks = 0;
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;)
        if (entry->d_name[0] >= '0' && entry->d_name[0] <= '9')
            *ret_ticks += own_ticks_of(root, entry->d_name, groups, groups_count, harness);
    (void)closedir(dir);
    return true;
}

/* --- heat --- */

void throttles_read_at(const char *root, pid_t worker, struct throttles *ret_throttles)
{
    static const char *const names[] = {"core_throttle_count", "package_throttle_count"};
    struct cpu_list cpus;
    struct throttles throttles = {0};
    bool is_allowed = read_allowed(root, worker, &cpus);
    for (unsigned cpu = 0; is_allowed && cpu < CPUINFO_CPUS_MAX; cpu++) {
        if (!cpu_list_has(&cpus, cpu))
            continue;
        char dir[80];
        (void)snprintf(dir, sizeof(dir), "/sys/devices/system/cpu/cpu%u/thermal_throttle", cpu);
        for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
            uint64_t count = 0;
            if (!procfs_read_u64(root, dir, names[i], &count))
                continue;
            throttles.is_known = true;
            throttles.count += count;
        }
    }
    *ret_throttles = throttles;
}

void throttles_read(pid_t worker, struct throttles *ret_throttles)
{
    throttles_read_at("", worker, ret_throttles);
}

void cpuload_read_at(const char *root, pid_t worker, const pid_t *groups, size_t groups_count,
                     pid_t harness, struct cpuload *ret_load)
{
    struct cpu_list cpus;
    struct cpuload load = {0};
    if (read_allowed(root, worker, &cpus)) {
        read_cpus(root, &cpus, &load);
        load.is_known =
            load.cpus_count > 0 && read_own(root, groups, groups_count, harness, &load.own_ticks);
    }
    *ret_load = load;
}

void cpuload_read(pid_t worker, const pid_t *groups, size_t groups_count, pid_t harness,
                  struct cpuload *ret_load)
{
    cpuload_read_at("", worker, groups, groups_count, harness, ret_load);
}

const char *cpuload_foreign_percent(const struct cpuload *before, const struct cpuload *after,
                                    double *ret_percent)
{
    if (!before->is_known || !after->is_known || before->cpus_count != after->cpus_count)
        return "not_readable";
    /* A process that ended in between takes its ticks along; idle time can step back. */
    uint64_t own = after->own_ticks > before->own_ticks ? after->own_ticks - before->own_ticks : 0;
    if (after->total_ticks < before->total_ticks || after->busy_ticks < before->busy_ticks)
        return "not_readable";
    uint64_t total = after->total_ticks - before->total_ticks;
    uint64_t busy = after->busy_ticks - before->busy_ticks;
    if (total < (uint64_t)TICKS_MIN * after->cpus_count)
        return "too_short";
    uint64_t foreign = busy > own ? busy - own : 0;
    *ret_percent = 100 * (double)foreign / (double)total;
    return NULL;
}
