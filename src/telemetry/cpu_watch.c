#include "telemetry/cpu_watch.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cgroup.h"
#include "base/clock.h"
#include "base/procfs.h"
#include "base/status.h"

#define LINE_BYTES_MAX 256 /* of a processor in /proc/stat */
#define LIMITS_MAX     8
/* A shorter lap is mostly ticks that have not moved yet. */
#define NEWBORN_LAP_NS (20 * NS_PER_MS)

/* --- which processors --- */

static void add_all(struct cpu_list *list, const struct cpu_list *more)
{
    for (size_t i = 0; i < ARRAY_COUNT(list->bits); i++)
        list->bits[i] |= more->bits[i];
}

/* A neighbour on the same core slows a thread that never waits. */
static void add_siblings(const char *root, struct cpu_list *cpus)
{
    struct cpu_list own = *cpus;
    for (unsigned cpu = 0; cpu < CPU_LIST_CPUS_MAX; cpu++) {
        char dir[80];
        struct cpu_list siblings;
        if (!cpu_list_has(&own, cpu))
            continue;
        (void)snprintf(dir, sizeof(dir), "/sys/devices/system/cpu/cpu%u/topology", cpu);
        if (cpu_list_read(root, dir, "thread_siblings_list", &siblings))
            add_all(cpus, &siblings);
    }
}

static bool find_cpus(struct cpu_watch *watch, const pid_t *workers, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct cpu_list allowed;
        if (!cpu_list_read_allowed(watch->root, workers[i], &allowed))
            return false;
        add_all(&watch->cpus, &allowed);
    }
    add_siblings(watch->root, &watch->cpus);
    for (unsigned cpu = 0; cpu < CPU_LIST_CPUS_MAX; cpu++)
        if (cpu_list_has(&watch->cpus, cpu))
            watch->cpu_last = cpu;
    return true;
}

/* --- limits --- */

/* A group without a limit throttles nobody. */
static bool has_limit(const char *root, const char *dir, bool is_v2)
{
    char text[64];
    uint64_t quota = 0;
    return is_v2 ? procfs_read(root, dir, "cpu.max", text, sizeof(text)) &&
                       strncmp(text, "max", 3) != 0
                 : procfs_read_u64(root, dir, "cpu.cfs_quota_us", &quota); /* -1 is no number */
}

static void take_limit(void *context, const char *dir, bool is_v2)
{
    struct cpu_watch *watch = context;
    if (watch->limits_count == LIMITS_MAX || !has_limit(watch->root, dir, is_v2))
        return;
    struct cpu_watch_group *limits =
        reallocarray(watch->limits, watch->limits_count + 1, sizeof(*limits));
    if (limits == NULL)
        return;
    watch->limits = limits;
    struct cpu_watch_group *limit = &limits[watch->limits_count++];
    limit->is_v2 = is_v2;
    (void)snprintf(limit->dir, sizeof(limit->dir), "%s", dir);
}

static uint64_t read_throttled_ns(const struct cpu_watch *watch)
{
    uint64_t sum_ns = 0;
    for (size_t i = 0; i < watch->limits_count; i++) {
        const struct cpu_watch_group *limit = &watch->limits[i];
        char text[PROCFS_TEXT_BYTES];
        uint64_t time = 0;
        if (procfs_read(watch->root, limit->dir, "cpu.stat", text, sizeof(text)) &&
            procfs_find_u64(text, limit->is_v2 ? "throttled_usec" : "throttled_time", &time))
            sum_ns += limit->is_v2 ? time * NS_PER_US : time;
    }
    return sum_ns;
}

/* --- processors' time --- */

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

struct processors {
    unsigned count;
    unsigned moved_count; /* whose idle time grew: known to a tick only */
    uint64_t idle_ns, stolen_ns;
};

static uint64_t grown(uint64_t before, uint64_t after)
{
    return after > before ? after - before : 0; /* idle time can step back */
}

/* "cpuN user nice system idle iowait irq softirq steal ..." */
static void take_processor(struct cpu_watch *watch, const char *line, uint64_t tick_ns,
                           struct processors *sum)
{
    uint64_t ticks[CPU_COLUMNS_COUNT];
    char *end = NULL;
    /* "cpu " with a blank is the sum of all. */
    if (line[3] < '0' || line[3] > '9')
        return;
    unsigned long cpu = strtoul(line + 3, &end, 10);
    if (cpu > watch->cpu_last || !cpu_list_has(&watch->cpus, (unsigned)cpu) ||
        !take_numbers(end, ticks, CPU_COLUMNS_COUNT))
        return;
    uint64_t idle_ns = (ticks[CPU_IDLE] + ticks[CPU_WAITING]) * tick_ns;
    uint64_t stolen_ns = ticks[CPU_STOLEN] * tick_ns;
    sum->count++;
    sum->moved_count += idle_ns != watch->idle_ns[cpu];
    sum->idle_ns += grown(watch->idle_ns[cpu], idle_ns);
    sum->stolen_ns += grown(watch->stolen_ns[cpu], stolen_ns);
    watch->idle_ns[cpu] = idle_ns;
    watch->stolen_ns[cpu] = stolen_ns;
}

static uint64_t tick_length_ns(void)
{
    long ticks = sysconf(_SC_CLK_TCK);
    return NS_PER_S / (uint64_t)(ticks > 0 ? ticks : 100);
}

static struct processors read_processors(struct cpu_watch *watch)
{
    struct processors sum = {0};
    uint64_t tick_ns = tick_length_ns();
    if (!procfs_read(watch->root, "/proc", "stat", watch->text, watch->text_bytes))
        return sum;
    for (const char *line = watch->text; line != NULL && strncmp(line, "cpu", 3) == 0;
         line = strchr(line, '\n') != NULL ? strchr(line, '\n') + 1 : NULL)
        take_processor(watch, line, tick_ns, &sum);
    return sum;
}

/* --- processes and threads --- */

typedef bool (*number_visit)(struct cpu_watch *watch, pid_t number, void *context);

/* Every entry of a folder that is a number. False where there is no such folder. */
static bool visit_numbers(struct cpu_watch *watch, const char *dir_path, number_visit visit,
                          void *context)
{
    char path[FILE_PATH_BYTES];
    int length = snprintf(path, sizeof(path), "%s%s", watch->root, dir_path);
    DIR *dir = length > 0 && (size_t)length < sizeof(path) ? opendir(path) : NULL;
    if (dir == NULL)
        return false;
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;)
        if (entry->d_name[0] >= '0' && entry->d_name[0] <= '9' &&
            !visit(watch, (pid_t)strtol(entry->d_name, NULL, 10), context))
            break;
    (void)closedir(dir);
    return true;
}

/* Puts it behind the members that are known. */
static void make_member(struct cpu_watch *watch, size_t at)
{
    struct cpu_watch_process other = watch->processes[watch->members_count];
    watch->processes[watch->members_count++] = watch->processes[at];
    watch->processes[at] = other;
}

/* Keeps a process in mind, and whether it is of the groups. */
static bool take_process(struct cpu_watch *watch, pid_t pid, void *context)
{
    (void)context;
    char dir[32];
    char text[PROCFS_TEXT_BYTES];
    (void)snprintf(dir, sizeof(dir), "/proc/%ld", (long)pid);
    /* "pid (name) state ppid pgrp ...": the name may hold anything, so count from its last ')'. */
    const char *behind_name =
        procfs_read(watch->root, dir, "stat", text, sizeof(text)) ? strrchr(text, ')') : NULL;
    uint64_t numbers[2];
    if (behind_name == NULL || strlen(behind_name) < 4 ||
        !take_numbers(behind_name + 3, numbers, ARRAY_COUNT(numbers)))
        return true;
    if (watch->processes_count == watch->processes_capacity) {
        size_t capacity = watch->processes_capacity == 0 ? 256 : 2 * watch->processes_capacity;
        struct cpu_watch_process *processes =
            reallocarray(watch->processes, capacity, sizeof(*watch->processes));
        if (processes == NULL)
            return false;
        watch->processes = processes;
        watch->processes_capacity = capacity;
    }
    size_t at = watch->processes_count++;
    watch->processes[at] = (struct cpu_watch_process){pid, (pid_t)numbers[0]};
    bool is_member = false;
    for (size_t i = 0; i < watch->groups_count; i++)
        is_member = is_member || numbers[1] == (uint64_t)watch->groups[i];
    if (is_member)
        make_member(watch, at);
    return true;
}

static void find_members(struct cpu_watch *watch)
{
    watch->members_count = watch->processes_count = 0;
    (void)visit_numbers(watch, "/proc", take_process, NULL);
    for (size_t member = 0; member < watch->members_count; member++)
        for (size_t i = watch->members_count; i < watch->processes_count; i++)
            if (watch->processes[i].parent == watch->processes[member].pid)
                make_member(watch, i);
}

/* Of a lap's threads. */
struct own {
    pid_t pid; /* the process that is looked at */
    uint64_t ran_ns, waited_ns;
    bool knows_waits;
};

static struct cpu_watch_thread *thread_at(struct cpu_watch *watch, pid_t pid, pid_t tid)
{
    for (size_t i = 0; i < watch->threads_count; i++)
        if (watch->threads[i].tid == tid && watch->threads[i].pid == pid)
            return &watch->threads[i];
    if (watch->threads_count == watch->threads_capacity) {
        size_t capacity = watch->threads_capacity == 0 ? 16 : 2 * watch->threads_capacity;
        struct cpu_watch_thread *threads =
            reallocarray(watch->threads, capacity, sizeof(*watch->threads));
        if (threads == NULL)
            return NULL;
        watch->threads = threads;
        watch->threads_capacity = capacity;
    }
    struct cpu_watch_thread *thread = &watch->threads[watch->threads_count++];
    *thread = (struct cpu_watch_thread){.pid = pid, .tid = tid};
    return thread;
}

static bool take_thread(struct cpu_watch *watch, pid_t tid, void *context)
{
    struct own *own = context;
    char dir[64];
    char text[128];
    uint64_t numbers[3]; /* ran, waited: ns; runs */
    (void)snprintf(dir, sizeof(dir), "/proc/%ld/task/%ld", (long)own->pid, (long)tid);
    if (!procfs_read(watch->root, dir, "schedstat", text, sizeof(text)) ||
        !take_numbers(text, numbers, ARRAY_COUNT(numbers)))
        return true;
    struct cpu_watch_thread *thread = thread_at(watch, own->pid, tid);
    if (thread == NULL)
        return false;
    uint64_t woken_ns = grown(thread->runs_count, numbers[2]) * CPU_WATCH_WAKE_NS;
    uint64_t waited_ns = grown(woken_ns, grown(thread->waited_ns, numbers[1]));
    own->knows_waits = true;
    own->ran_ns += grown(thread->ran_ns, numbers[0]);
    own->waited_ns = waited_ns > own->waited_ns ? waited_ns : own->waited_ns;
    thread->ran_ns = numbers[0];
    thread->waited_ns = numbers[1];
    thread->runs_count = numbers[2];
    thread->is_here = true;
    return true;
}

static void drop_ended(struct cpu_watch *watch)
{
    size_t kept = 0;
    for (size_t i = 0; i < watch->threads_count; i++)
        if (watch->threads[i].is_here)
            watch->threads[kept++] = watch->threads[i];
    watch->threads_count = kept;
}

static struct own read_members(struct cpu_watch *watch)
{
    struct own own = {0};
    for (size_t i = 0; i < watch->threads_count; i++)
        watch->threads[i].is_here = false;
    for (size_t i = 0; i < watch->members_count; i++) {
        char dir[32];
        own.pid = watch->processes[i].pid;
        (void)snprintf(dir, sizeof(dir), "/proc/%ld/task", (long)own.pid);
        (void)visit_numbers(watch, dir, take_thread, &own);
    }
    drop_ended(watch);
    return own;
}

/* --- laps --- */

bool cpu_watch_open(struct cpu_watch *watch, const char *root, const pid_t *workers,
                    const pid_t *groups, size_t count)
{
    ASSERT(count <= CPU_WATCH_GROUPS_MAX);
    *watch = (struct cpu_watch){.root = root, .groups_count = count};
    memcpy(watch->groups, groups, count * sizeof(groups[0]));
    if (!find_cpus(watch, workers, count))
        return false;
    size_t cpus = (size_t)watch->cpu_last + 1;
    watch->text_bytes = (cpus + 1) * LINE_BYTES_MAX;
    watch->text = malloc(watch->text_bytes);
    watch->idle_ns = calloc(cpus, sizeof(*watch->idle_ns));
    watch->stolen_ns = calloc(cpus, sizeof(*watch->stolen_ns));
    cgroup_walk(root, "cpu", take_limit, watch);
    find_members(watch);
    return watch->text != NULL && watch->idle_ns != NULL && watch->stolen_ns != NULL;
}

void cpu_watch_close(struct cpu_watch *watch)
{
    free(watch->processes);
    free(watch->threads);
    free(watch->limits);
    free(watch->text);
    free(watch->idle_ns);
    free(watch->stolen_ns);
    *watch = (struct cpu_watch){0};
}

/* Time that nobody else can have used is known to less than a tick where a processor was never
 * idle, however its ticks fell. */
static double uncertain_ns(unsigned moved_count)
{
    /* Each of two readings is cut down to a whole tick: together 1 / sqrt(6) of one. */
    return (double)tick_length_ns() * sqrt((double)moved_count / 6);
}

/* Processes that were born since the last search are looked for only where their time would be
 * taken for that of others: all of /proc is some milliseconds' reading. */
static uint64_t newborn_ran_ns(struct cpu_watch *watch, uint64_t foreign_ns, uint64_t wall_ns)
{
    size_t known_count = watch->members_count;
    if (wall_ns < NEWBORN_LAP_NS || foreign_ns <= wall_ns / 10)
        return 0;
    find_members(watch);
    return watch->members_count > known_count ? read_members(watch).ran_ns : 0;
}

void cpu_watch_lap(struct cpu_watch *watch, uint64_t now_ns, uint64_t harness_ns,
                   struct cpu_lap *ret_lap)
{
    bool has_looked = watch->has_looked;
    struct own own = read_members(watch);
    struct processors processors = read_processors(watch);
    uint64_t throttled_ns = read_throttled_ns(watch);
    uint64_t wall_ns = grown(watch->at_ns, now_ns);
    uint64_t busy_ns = grown(processors.idle_ns, wall_ns * processors.count);
    uint64_t ours_ns = own.ran_ns + grown(watch->harness_ns, harness_ns);
    if (has_looked)
        ours_ns += newborn_ran_ns(watch, grown(ours_ns, busy_ns), wall_ns);
    *ret_lap = (struct cpu_lap){
        .is_known = has_looked && processors.count > 0,
        .knows_waits = own.knows_waits,
        .cpus_count = processors.count,
        .wall_ns = wall_ns,
        .waited_ns = own.waited_ns,
        .foreign_ns = grown(ours_ns, busy_ns),
        .uncertain_ns = (uint64_t)uncertain_ns(processors.moved_count),
        .stolen_ns = processors.stolen_ns,
        .throttled_ns = grown(watch->throttled_ns, throttled_ns),
    };
    watch->has_looked = processors.count > 0;
    watch->throttled_ns = throttled_ns;
    watch->at_ns = now_ns;
    watch->harness_ns = harness_ns;
}

void cpu_lap_add(struct cpu_lap *sum, const struct cpu_lap *lap)
{
    double before = (double)sum->uncertain_ns;
    double more = (double)lap->uncertain_ns;
    sum->is_known = sum->is_known || lap->is_known;
    sum->knows_waits = sum->knows_waits || lap->knows_waits;
    sum->cpus_count = lap->cpus_count;
    sum->wall_ns += lap->wall_ns;
    sum->waited_ns += lap->waited_ns;
    sum->foreign_ns += lap->foreign_ns;
    sum->uncertain_ns = (uint64_t)sqrt(before * before + more * more);
    sum->stolen_ns += lap->stolen_ns;
    sum->throttled_ns += lap->throttled_ns;
}
