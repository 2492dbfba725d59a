#include <criterion/criterion.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "telemetry/cpuload.h"

/* Worker 40, its child 41, the harness 7 and another process 99; processors 1 and 2 of four. */
#define FIXTURE(name) TOKMARK_SOURCE_DIR "/tests/golden/cpuload/" name

static const pid_t groups[] = {40, 99};

Test(telemetry_cpuload, throttling_is_counted_on_the_workers_processors)
{
    struct throttles before, after, nothing;
    throttles_read_at(FIXTURE("before"), 40, &before);
    throttles_read_at(FIXTURE("after"), 40, &after);
    throttles_read_at(FIXTURE("no_such_tree"), 40, &nothing);
    cr_assert(before.is_known && after.is_known && !nothing.is_known);
    cr_assert_eq(before.count, 4);
    cr_assert_eq(after.count, 5);
}

Test(telemetry_cpuload, two_workers_at_once_are_both_no_others)
{
    struct cpuload one, two;
    cpuload_read_at(FIXTURE("before"), 40, groups, 1, 7, &one);
    cpuload_read_at(FIXTURE("before"), 40, groups, 2, 7, &two);
    cr_assert_gt(two.own_ticks, one.own_ticks);
    cr_assert_eq(two.busy_ticks, one.busy_ticks);
}

Test(telemetry_cpuload, only_the_workers_processors_and_processes_count)
{
    struct cpuload before;
    struct cpuload after;
    cpuload_read_at(FIXTURE("before"), 40, groups, 1, 7, &before);
    cpuload_read_at(FIXTURE("after"), 40, groups, 1, 7, &after);
    cr_assert(before.is_known && after.is_known);
    cr_assert_eq(before.cpus_count, 2);
    cr_assert_eq(before.busy_ticks, 1000 + 10 + 100 + 5 + 5 + 10 + 500);
    cr_assert_eq(before.total_ticks, 1130 + 2000 + 20 + 500 + 3000);
    cr_assert_eq(before.own_ticks, 300 + 40 + 5 + 1 + 20 + 9 + 1, "the harness without children");
    cr_assert_eq(after.own_ticks - before.own_ticks, 60 + 5 + 3 + 1 + 10 + 1 + 1);
    double percent = 0;
    /* busy 80 + 67, ours 81, of 110 + 100 */
    cr_assert_null(cpuload_foreign_percent(&before, &after, &percent));
    cr_assert_float_eq(percent, 100.0 * (147 - 81) / 210, 1e-12);
}

Test(telemetry_cpuload, what_cannot_be_known_says_why)
{
    struct cpuload before;
    struct cpuload nothing;
    double percent = 77;
    cpuload_read_at(FIXTURE("before"), 40, groups, 1, 7, &before);
    cpuload_read_at(FIXTURE("no_such_tree"), 40, groups, 1, 7, &nothing);
    cr_assert_not(nothing.is_known);
    cr_assert_str_eq(cpuload_foreign_percent(&before, &nothing, &percent), "not_readable");
    cr_assert_str_eq(cpuload_foreign_percent(&before, &before, &percent), "too_short");
    cr_assert_eq(percent, 77);
}

/* A child in a group of its own that never rests, on one processor. */
static pid_t start_busy(unsigned cpu)
{
    pid_t pid = fork();
    cr_assert(pid >= 0);
    if (pid > 0)
        return pid;
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    CPU_SET(cpu, &cpus);
    (void)setpgid(0, 0);
    (void)sched_setaffinity(0, sizeof(cpus), &cpus);
    for (volatile unsigned long i = 0;; i++)
        ;
}

Test(telemetry_cpuload, a_busy_process_is_foreign_unless_it_is_the_worker)
{
    cpu_set_t cpus;
    cr_assert_eq(sched_getaffinity(0, sizeof(cpus), &cpus), 0);
    unsigned cpu = 0;
    while (!CPU_ISSET(cpu, &cpus))
        cpu++;
    pid_t busy = start_busy(cpu);
    usleep(50000);
    struct cpuload before[2];
    struct cpuload after[2];
    const pid_t none = 999999999;
    /* Both confined to that processor: seen as the worker, and with the worker another. */
    cpuload_read(busy, &busy, 1, 0, &before[0]);
    cpuload_read(busy, &none, 1, 0, &before[1]);
    usleep(900000);
    cpuload_read(busy, &busy, 1, 0, &after[0]);
    cpuload_read(busy, &none, 1, 0, &after[1]);
    cr_expect_eq(kill(busy, SIGKILL), 0);
    cr_expect_eq(waitpid(busy, NULL, 0), busy);
    double own = 0;
    double foreign = 0;
    cr_assert_null(cpuload_foreign_percent(&before[0], &after[0], &own));
    cr_assert_null(cpuload_foreign_percent(&before[1], &after[1], &foreign));
    cr_expect_gt(foreign, 80, "%g", foreign);
    cr_expect_leq(own, foreign - 10, "%g of %g", own, foreign);
}
