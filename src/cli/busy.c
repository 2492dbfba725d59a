#include "cli/busy.h"

#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "telemetry/cpu_busy.h"

void busy_notice(const struct invocation *call, const struct run_options *options)
{
    char text[CPU_BUSY_TEXT_BYTES];
    struct cpu_busy busy;
    const struct timespec wait = {.tv_nsec = (long)CPU_BUSY_WAIT_NS};
    if (options->is_quiet || options->is_sandbox || options->foreign_load == 0)
        return;
    cpu_busy_begin(&busy, "", getpid(), clock_now_ns(), clock_cpu_ns());
    if (busy.is_open)
        (void)nanosleep(&wait, NULL);
    if (cpu_busy_end(&busy, clock_now_ns(), clock_cpu_ns(), text))
        command_complain(call, "%s; what is measured now may be disturbed", text);
    cpu_busy_close(&busy);
}
