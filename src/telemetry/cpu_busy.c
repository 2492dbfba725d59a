#include "telemetry/cpu_busy.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/num.h"
#include "base/procfs.h"

#define NAMED_MAX         3
#define NAMED_PERCENT_MIN 5.0 /* of one processor */
#define PROCESSES_MAX     100000
#define STAT_TIMES_AT     11 /* fields behind the state before utime */

/* "PID (name) S ppid ... utime stime ...", where the name may hold blanks and brackets. */
static bool parse_stat(const char *text, struct cpu_busy_process *ret_process)
{
    const char *open = strchr(text, '(');
    const char *close = strrchr(text, ')');
    if (open == NULL || close == NULL || close < open || close[1] != ' ')
        return false;
    size_t length = (size_t)(close - open - 1);
    length = length < CPU_BUSY_NAME_BYTES ? length : CPU_BUSY_NAME_BYTES - 1;
    memcpy(ret_process->name, open + 1, length);
    ret_process->name[length] = '\0';
    const char *at = close + 2;
    for (int i = 0; i < STAT_TIMES_AT && at != NULL; i++) {
        at = strchr(at, ' ');
        at = at != NULL ? at + 1 : NULL;
    }
    if (at == NULL)
        return false;
    char *end = NULL;
    uint64_t user = strtoull(at, &end, 10);
    ret_process->ticks = user + strtoull(end, NULL, 10);
    return true;
}

static bool add(struct cpu_busy_list *list, const struct cpu_busy_process *process)
{
    if (list->count == list->capacity) {
        size_t capacity = list->capacity > 0 ? 2 * list->capacity : 256;
        struct cpu_busy_process *items = reallocarray(list->items, capacity, sizeof(*items));
        if (items == NULL)
            return false;
        list->items = items;
        list->capacity = capacity;
    }
    list->items[list->count++] = *process;
    return true;
}

/* As far as they can be read; processes end while one looks. */
static void read_processes(const char *root, struct cpu_busy_list *ret_list)
{
    char path[FILE_PATH_BYTES];
    char text[1024];
    (void)snprintf(path, sizeof(path), "%s/proc", root);
    DIR *dir = opendir(path);
    const struct dirent *entry = NULL;
    while (dir != NULL && ret_list->count < PROCESSES_MAX && (entry = readdir(dir)) != NULL) {
        char *end = NULL;
        struct cpu_busy_process process = {.pid = (pid_t)strtol(entry->d_name, &end, 10)};
        if (process.pid <= 0 || *end != '\0')
            continue;
        (void)snprintf(path, sizeof(path), "/proc/%d", (int)process.pid);
        if (procfs_read(root, path, "stat", text, sizeof(text)) && parse_stat(text, &process) &&
            !add(ret_list, &process))
            break;
    }
    if (dir != NULL)
        (void)closedir(dir);
}

/* Ticks since the look before; all of them, of one that is new. */
static uint64_t grown(const struct cpu_busy_list *before, const struct cpu_busy_process *after)
{
    for (size_t i = 0; i < before->count; i++)
        if (before->items[i].pid == after->pid && before->items[i].ticks <= after->ticks)
            return after->ticks - before->items[i].ticks;
    return after->ticks;
}

static int compare_ticks(const void *a, const void *b)
{
    uint64_t left = ((const struct cpu_busy_process *)a)->ticks;
    uint64_t right = ((const struct cpu_busy_process *)b)->ticks;
    return left < right ? 1 : left > right ? -1 : 0;
}

static void append(char text[CPU_BUSY_TEXT_BYTES], const char *before, const char *name,
                   double percent)
{
    size_t length = strlen(text);
    (void)snprintf(text + length, CPU_BUSY_TEXT_BYTES - length, "%s%s %.0f %%", before, name,
                   percent);
}

/* Names, the busiest first, each with its share of one processor. */
static void append_names(const struct cpu_busy *busy, const struct cpu_lap *lap,
                         char text[CPU_BUSY_TEXT_BYTES])
{
    struct cpu_busy_list after = {0};
    double wall_ticks = (double)lap->wall_ns / (double)NS_PER_S * (double)sysconf(_SC_CLK_TCK);
    double stolen_percent = 100 * (double)lap->stolen_ns / (double)lap->wall_ns;
    const char *separator = ": ";
    read_processes(busy->root, &after);
    for (size_t i = 0; i < after.count; i++)
        after.items[i].ticks =
            after.items[i].pid == busy->self ? 0 : grown(&busy->before, &after.items[i]);
    if (after.count > 0)
        qsort(after.items, after.count, sizeof(after.items[0]), compare_ticks);
    for (size_t i = 0; i < after.count && i < NAMED_MAX; i++) {
        double percent = 100 * (double)after.items[i].ticks / wall_ticks;
        if (percent < NAMED_PERCENT_MIN)
            break;
        append(text, separator, after.items[i].name, percent);
        separator = ", ";
    }
    if (stolen_percent >= NAMED_PERCENT_MIN) {
        append(text, separator, "the hypervisor", stolen_percent);
        separator = ", ";
    }
    size_t length = strlen(text);
    if (separator[0] == ',')
        (void)snprintf(text + length, CPU_BUSY_TEXT_BYTES - length, " of one CPU");
    free(after.items);
}

void cpu_busy_begin(struct cpu_busy *busy, const char *root, pid_t self, uint64_t now_ns,
                    uint64_t harness_ns)
{
    *busy = (struct cpu_busy){.root = root, .self = self, .begin_ns = now_ns};
    busy->is_open = cpu_watch_open(&busy->watch, root, &self, &self, 1);
    if (!busy->is_open)
        return;
    read_processes(root, &busy->before);
    struct cpu_lap forgotten;
    cpu_watch_lap(&busy->watch, now_ns, harness_ns, &forgotten);
}

bool cpu_busy_end(struct cpu_busy *busy, uint64_t now_ns, uint64_t harness_ns,
                  char ret_text[CPU_BUSY_TEXT_BYTES])
{
    struct cpu_lap lap = {0};
    if (!busy->is_open || now_ns <= busy->begin_ns)
        return false;
    cpu_watch_lap(&busy->watch, now_ns, harness_ns, &lap);
    if (!lap.is_known || lap.wall_ns == 0 || lap.cpus_count == 0)
        return false;
    double percent = 100 * (double)lap.foreign_ns / (double)(lap.wall_ns * lap.cpus_count);
    if (!(percent >= CPU_BUSY_PERCENT))
        return false;
    ret_text[0] = '\0';
    char cpus[CPU_BUSY_NAME_BYTES];
    (void)snprintf(cpus, sizeof(cpus), "%u CPU%s", lap.cpus_count, num_plural(lap.cpus_count));
    append(ret_text, "", cpus, percent < 100 ? percent : 100);
    size_t length = strlen(ret_text);
    (void)snprintf(ret_text + length, CPU_BUSY_TEXT_BYTES - length, " busy");
    append_names(busy, &lap, ret_text);
    return true;
}

void cpu_busy_close(struct cpu_busy *busy)
{
    cpu_watch_close(&busy->watch);
    free(busy->before.items);
    *busy = (struct cpu_busy){0};
}
