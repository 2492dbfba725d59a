#include "telemetry/throttles.h"

#include <stdio.h>
#include <string.h>

#include "base/procfs.h"
#include "base/status.h"
#include "telemetry/cpu_list.h"

void throttles_read_at(const char *root, pid_t worker, struct throttles *ret_throttles)
{
    static const char *const names[] = {"core_throttle_count", "package_throttle_count"};
    struct cpu_list cpus;
    struct throttles throttles = {0};
    bool is_allowed = cpu_list_read_allowed(root, worker, &cpus);
    for (unsigned cpu = 0; is_allowed && cpu < CPU_LIST_CPUS_MAX; cpu++) {
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
