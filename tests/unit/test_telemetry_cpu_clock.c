#include <criterion/criterion.h>
#include <sched.h>
#include <string.h>
#include <sys/stat.h>

#include "scratch.h"
#include "telemetry/cpu_clock.h"

static char root[FILE_PATH_BYTES];

static void set_up(void)
{
    scratch_new(root);
}

static void tear_down(void)
{
    scratch_free(root);
}

TestSuite(telemetry_cpu_clock, .init = set_up, .fini = tear_down);

static void put(unsigned cpu, const char *text)
{
    char path[FILE_PATH_BYTES];
    char dirs[128];
    (void)snprintf(dirs, sizeof(dirs), "/sys/devices/system/cpu/cpu%u/cpufreq/", cpu);
    for (char *slash = strchr(dirs + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        (void)snprintf(path, sizeof(path), "%.2000s%.*s", root, (int)(slash - dirs), dirs);
        (void)mkdir(path, 0755);
    }
    scratch_write(path, "scaling_cur_freq", text, strlen(text));
}

Test(telemetry_cpu_clock, the_clock_is_that_of_the_fastest_processor_that_may_be_used)
{
    double mhz = 0;
    cpu_set_t usable;
    cr_assert_eq(sched_getaffinity(0, sizeof(usable), &usable), 0);
    unsigned last = 0;
    for (unsigned cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (CPU_ISSET(cpu, &usable)) {
            put(cpu, "800000\n");
            last = cpu;
        }
    }
    put(last, "3450000\n");
    cr_expect_null(cpu_clock_read_mhz(root, &mhz));
    cr_expect_eq(mhz, 3450);
}

Test(telemetry_cpu_clock, where_the_kernel_does_not_tell_is_a_reason)
{
    double mhz = 7;
    cr_expect_str_eq(cpu_clock_read_mhz(root, &mhz), "no_cpufreq");
    cr_expect_eq(mhz, 7);
}
