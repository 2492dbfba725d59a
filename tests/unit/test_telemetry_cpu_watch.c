#include <criterion/criterion.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "paths.h"
#include "telemetry/cpu_watch.h"

/* Worker 40 with two threads on processors 1 and 2 of four, its child 41, whose child 39 is in a
 * group of its own, as a rank of mpirun's, another process 99; processors 1 and 3 share a core; a
 * control group has a limit. */
#define FIXTURE(name) TOKMARK_SOURCE_DIR "/tests/golden/cpu_watch/" name

static const pid_t worker = 40;

/* 200 ms, in which the harness worked for 3. */
static struct cpu_lap lap_of(const char *before, const char *after, const pid_t *groups,
                             size_t groups_count)
{
    struct cpu_watch watch;
    struct cpu_lap lap;
    const pid_t workers[] = {worker, worker};
    cr_assert(cpu_watch_open(&watch, before, workers, groups, groups_count));
    cpu_watch_lap(&watch, 5 * NS_PER_S, 70 * NS_PER_MS, &lap);
    watch.root = after;
    cpu_watch_lap(&watch, 5 * NS_PER_S + 200 * NS_PER_MS, 73 * NS_PER_MS, &lap);
    cpu_watch_close(&watch);
    return lap;
}

Test(telemetry_cpu_watch, a_lap_is_what_happened_between_two_looks)
{
    struct cpu_lap lap = lap_of(FIXTURE("before"), FIXTURE("after"), &worker, 1);
    cr_assert(lap.is_known && lap.knows_waits);
    cr_expect_eq(lap.cpus_count, 3, "the sibling of a worker's processor counts, too");
    cr_expect_eq(lap.wall_ns, 200 * NS_PER_MS);
    /* 600 ms of three processors: idle 30 + 0 + 50 ms; ran 150 + 140 (main thread, other), 40
     * (child), 25 (its child), 5 (born within), the harness 3. */
    cr_expect_eq(lap.foreign_ns, (600 - 80 - 150 - 140 - 40 - 25 - 5 - 3) * NS_PER_MS);
    /* The thread that waited longest did for 31 ms, and ran 20 times. */
    cr_expect_eq(lap.waited_ns, 31 * NS_PER_MS - 20 * CPU_WATCH_WAKE_NS);
    cr_expect_eq(lap.stolen_ns, 20 * NS_PER_MS);
    cr_expect_eq(lap.throttled_ns, 7 * NS_PER_MS);
    /* Two processors' idle time moved: sqrt(2 / 6) of a tick. */
    cr_expect_float_eq((double)lap.uncertain_ns, 0.57735027 * 10e6, 10);
}

Test(telemetry_cpu_watch, a_group_that_is_not_ours_is_foreign)
{
    const pid_t both[] = {40, 99};
    struct cpu_lap one = lap_of(FIXTURE("before"), FIXTURE("after"), both, 1);
    struct cpu_lap two = lap_of(FIXTURE("before"), FIXTURE("after"), both, 2);
    cr_expect_eq(one.foreign_ns - two.foreign_ns, 60 * NS_PER_MS);
}

Test(telemetry_cpu_watch, what_cannot_be_read_is_not_known)
{
    struct cpu_watch watch;
    cr_expect_not(cpu_watch_open(&watch, FIXTURE("no_such_tree"), &worker, &worker, 1));
    cpu_watch_close(&watch);
    struct cpu_lap lap = lap_of(FIXTURE("before"), FIXTURE("no_such_tree"), &worker, 1);
    cr_expect_not(lap.is_known || lap.knows_waits);
}

Test(telemetry_cpu_watch, laps_add_up)
{
    struct cpu_lap sum = {0};
    struct cpu_lap lap = lap_of(FIXTURE("before"), FIXTURE("after"), &worker, 1);
    cpu_lap_add(&sum, &lap);
    cpu_lap_add(&sum, &lap);
    cr_expect_eq(sum.foreign_ns, 2 * lap.foreign_ns);
    cr_expect_eq(sum.wall_ns, 2 * lap.wall_ns);
    cr_expect_eq(sum.waited_ns, 2 * lap.waited_ns);
    cr_expect(sum.is_known && sum.knows_waits);
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

/* However busy the machine is: two that want all of one processor get half of it at most, together.
 */
Test(telemetry_cpu_watch, a_real_neighbour_makes_a_real_process_wait)
{
    cpu_set_t cpus;
    cr_assert_eq(sched_getaffinity(0, sizeof(cpus), &cpus), 0);
    unsigned cpu = 0;
    while (!CPU_ISSET(cpu, &cpus))
        cpu++;
    pid_t one = start_busy(cpu);
    pid_t other = start_busy(cpu);
    struct cpu_watch watch;
    struct cpu_lap lap;
    usleep(50000); /* both have set their processor */
    cr_assert(cpu_watch_open(&watch, "", &one, &one, 1));
    cpu_watch_lap(&watch, clock_now_ns(), 0, &lap);
    usleep(600000);
    cpu_watch_lap(&watch, clock_now_ns(), 0, &lap);
    cpu_watch_close(&watch);
    cr_expect_eq(kill(one, SIGKILL), 0);
    cr_expect_eq(kill(other, SIGKILL), 0);
    cr_expect_eq(waitpid(one, NULL, 0), one);
    cr_expect_eq(waitpid(other, NULL, 0), other);
    cr_assert(lap.is_known && lap.knows_waits);
    cr_expect_gt((double)lap.waited_ns, 0.3 * (double)lap.wall_ns);
    cr_expect_gt((double)lap.foreign_ns, 0.3 * (double)lap.wall_ns);
}
