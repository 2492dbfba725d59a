#include "telemetry/cpu_counters.h"

#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/status.h"

/* A descriptor each, of three counters: far under what a process may have open. */
#define THREADS_MAX 256

struct cpu_counters {
    const char *missing[CPU_COUNTERS_COUNT]; /* borrowed: static */
    int fds[CPU_COUNTERS_COUNT][THREADS_MAX];
    size_t threads_count;
};

/* As the kernel gives it with PERF_FORMAT_TOTAL_TIME_*. */
struct counter_reading {
    uint64_t value, enabled_ns, running_ns;
};

static int open_counter(struct perf_event_attr *attr, pid_t thread)
{
    return (int)syscall(SYS_perf_event_open, attr, thread, -1, -1, PERF_FLAG_FD_CLOEXEC);
}

/* Of what perf_event_open() said. */
static const char *reason_of(int error)
{
    switch (error) {
    case EACCES:
    case EPERM: return "no_permission";
    case EMFILE:
    case ENFILE: return "too_many_threads";
    case ESRCH: return "worker_not_seen";
    default: return "no_counters";
    }
}

static struct perf_event_attr attr_of(enum cpu_counter counter)
{
    static const uint64_t configs[CPU_COUNTERS_COUNT] = {
        [CPU_COUNTER_INSTRUCTIONS] = PERF_COUNT_HW_INSTRUCTIONS,
        [CPU_COUNTER_CYCLES] = PERF_COUNT_HW_CPU_CYCLES,
        [CPU_COUNTER_LLC_MISSES] = PERF_COUNT_HW_CACHE_MISSES,
    };
    return (struct perf_event_attr){.type = PERF_TYPE_HARDWARE,
                                    .size = sizeof(struct perf_event_attr),
                                    .config = configs[counter],
                                    .disabled = 1,
                                    .inherit = 1,
                                    .exclude_kernel = 1,
                                    .exclude_hv = 1,
                                    .read_format = PERF_FORMAT_TOTAL_TIME_ENABLED |
                                                   PERF_FORMAT_TOTAL_TIME_RUNNING};
}

static void close_counter(struct cpu_counters *counters, enum cpu_counter counter)
{
    for (size_t i = 0; i < counters->threads_count; i++) {
        if (counters->fds[counter][i] >= 0)
            (void)close(counters->fds[counter][i]);
        counters->fds[counter][i] = -1;
    }
}

/* A thread that has ended meanwhile counts nothing any more; any other refusal is of the counter.
 */
static void add_thread(struct cpu_counters *counters, pid_t thread, cpu_counters_open *open_one)
{
    size_t index = counters->threads_count++;
    for (int i = 0; i < CPU_COUNTERS_COUNT; i++) {
        struct perf_event_attr attr = attr_of((enum cpu_counter)i);
        counters->fds[i][index] = counters->missing[i] == NULL ? open_one(&attr, thread) : -1;
        if (counters->fds[i][index] >= 0 || counters->missing[i] != NULL || errno == ESRCH)
            continue;
        counters->missing[i] = reason_of(errno);
        close_counter(counters, (enum cpu_counter)i);
    }
}

static const char *add_threads(struct cpu_counters *counters, pid_t pid,
                               cpu_counters_open *open_one)
{
    char path[64];
    (void)snprintf(path, sizeof(path), "/proc/%ld/task", (long)pid);
    DIR *dir = opendir(path);
    const char *missing = dir == NULL ? "worker_not_seen" : NULL;
    for (const struct dirent *entry; missing == NULL && (entry = readdir(dir)) != NULL;) {
        if (entry->d_name[0] == '.')
            continue;
        if (counters->threads_count == THREADS_MAX)
            missing = "too_many_threads";
        else
            add_thread(counters, (pid_t)strtol(entry->d_name, NULL, 10), open_one);
    }
    if (dir != NULL)
        (void)closedir(dir);
    return missing;
}

/* NULL, or the reason that all counters have. */
static const char *reason_of_all(const struct cpu_counters *counters)
{
    for (size_t i = 0; i < CPU_COUNTERS_COUNT; i++)
        if (counters->missing[i] == NULL)
            return NULL;
    return counters->missing[0];
}

static void tell_all(struct cpu_counters *counters, unsigned long request)
{
    for (size_t i = 0; i < CPU_COUNTERS_COUNT; i++)
        for (size_t thread = 0; thread < counters->threads_count; thread++)
            if (counters->fds[i][thread] >= 0)
                (void)ioctl(counters->fds[i][thread], request, 0);
}

static void free_counters(struct cpu_counters *counters)
{
    for (int i = 0; i < CPU_COUNTERS_COUNT; i++)
        close_counter(counters, (enum cpu_counter)i);
    free(counters);
}

struct cpu_counters *cpu_counters_start(pid_t pid, cpu_counters_open *open_one,
                                        const char **ret_missing)
{
    struct cpu_counters *counters = calloc(1, sizeof(*counters));
    const char *missing = counters == NULL ? "out_of_memory" : NULL;
    if (missing == NULL)
        missing = add_threads(counters, pid, open_one != NULL ? open_one : open_counter);
    if (missing == NULL)
        missing = reason_of_all(counters);
    if (missing != NULL) {
        if (counters != NULL)
            free_counters(counters);
        *ret_missing = missing;
        return NULL;
    }
    tell_all(counters, PERF_EVENT_IOC_ENABLE);
    return counters;
}

/* Over all threads. A counter that was shared with others counted a part of the time only. */
static struct cpu_count read_counter(const struct cpu_counters *counters, size_t counter)
{
    double sum = 0;
    bool has_run = false;
    for (size_t i = 0; i < counters->threads_count; i++) {
        struct counter_reading reading = {0};
        if (counters->fds[counter][i] < 0)
            continue;
        if (read(counters->fds[counter][i], &reading, sizeof(reading)) != sizeof(reading))
            return (struct cpu_count){.missing = "not_readable"};
        if (reading.running_ns == 0 && reading.enabled_ns > 0)
            return (struct cpu_count){.missing = "not_scheduled"};
        has_run |= reading.running_ns > 0;
        if (reading.running_ns > 0)
            sum += (double)reading.value * (double)reading.enabled_ns / (double)reading.running_ns;
    }
    return (struct cpu_count){.missing = has_run ? NULL : "not_scheduled", .value = (uint64_t)sum};
}

void cpu_counters_stop(struct cpu_counters *counters, struct cpu_count ret[CPU_COUNTERS_COUNT])
{
    if (counters == NULL)
        return;
    tell_all(counters, PERF_EVENT_IOC_DISABLE);
    for (size_t i = 0; i < CPU_COUNTERS_COUNT; i++)
        ret[i] = counters->missing[i] != NULL ? (struct cpu_count){.missing = counters->missing[i]}
                                              : read_counter(counters, i);
    free_counters(counters);
}
