/* telemetry/cpu_clock.h - how fast the processors run right now. */
#ifndef TELEMETRY_CPU_CLOCK_H
#define TELEMETRY_CPU_CLOCK_H

/* The highest clock of the processors that this process may use: idle ones are slow. NULL, or why
 * it is not known: `no_cpufreq`, as in virtual machines. `root` as in base/procfs.h. */
const char *cpu_clock_read_mhz(const char *root, double *ret_mhz);

#endif
