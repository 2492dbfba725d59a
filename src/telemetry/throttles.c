#include "telemetry/throttles.h"

#include <stdio.h>
#include <string.h>

#include "base/procfs.h"
#include "base/status.h"
#include "telemetry/cpuinfo.h"

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
