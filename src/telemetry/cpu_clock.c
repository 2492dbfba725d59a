#include "telemetry/cpu_clock.h"

#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/procfs.h"

/* A look may cost each of them an interrupt. */
#define CPUS_LOOKED_AT_MAX 64

const char *cpu_clock_read_mhz(const char *root, double *ret_mhz)
{
    cpu_set_t usable;
    uint64_t highest_khz = 0;
    unsigned looked_at = 0;
    if (sched_getaffinity(0, sizeof(usable), &usable) != 0)
        return "not_readable";
    for (unsigned cpu = 0; cpu < CPU_SETSIZE && looked_at < CPUS_LOOKED_AT_MAX; cpu++) {
        char dir[64];
        uint64_t khz = 0;
        if (!CPU_ISSET(cpu, &usable))
            continue;
        (void)snprintf(dir, sizeof(dir), "/sys/devices/system/cpu/cpu%u/cpufreq", cpu);
        if (!procfs_read_u64(root, dir, "scaling_cur_freq", &khz) && looked_at == 0)
            return "no_cpufreq";
        highest_khz = khz > highest_khz ? khz : highest_khz;
        looked_at++;
    }
    if (highest_khz == 0)
        return "no_cpufreq";
    *ret_mhz = (double)highest_khz / 1000;
    return NULL;
}
