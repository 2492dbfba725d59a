#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "telemetry/cpu_counters.h"

TestSuite(telemetry_cpu_counters);

/* --- what the kernel refuses --- */

static int refuse(int error)
{
    errno = error;
    return -1;
}

static int denied(struct perf_event_attr *attr, pid_t thread)
{
    (void)attr;
    (void)thread;
    return refuse(EACCES);
}

static int filtered(struct perf_event_attr *attr, pid_t thread)
{
    (void)attr;
    (void)thread;
    return refuse(EPERM);
}

static int absent(struct perf_event_attr *attr, pid_t thread)
{
    (void)attr;
    (void)thread;
    return refuse(ENOENT);
}

static int unknown_call(struct perf_event_attr *attr, pid_t thread)
{
    (void)attr;
    (void)thread;
    return refuse(ENOSYS);
}

static int full(struct perf_event_attr *attr, pid_t thread)
{
    (void)attr;
    (void)thread;
    return refuse(EMFILE);
}

Test(telemetry_cpu_counters, what_cannot_be_counted_says_why)
{
    static const struct {
        cpu_counters_open *open_one;
        const char *missing;
    } cases[] = {{denied, "no_permission"},
                 {filtered, "no_permission"},
                 {absent, "no_counters"},
                 {unknown_call, "no_counters"},
                 {full, "too_many_threads"}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *missing = NULL;
        cr_expect_null(cpu_counters_start(getpid(), cases[i].open_one, &missing));
        cr_expect_str_eq(missing, cases[i].missing);
    }
    const char *missing = NULL;
    cr_expect_null(cpu_counters_start(0, NULL, &missing));
    cr_expect_str_eq(missing, "worker_not_seen");
    struct cpu_count counts[CPU_COUNTERS_COUNT];
    cpu_counters_stop(NULL, counts);
}

/* --- the kernel's own machinery, with a counter that every machine has: time in ns --- */

static int open_clock(struct perf_event_attr *attr, pid_t thread)
{
    if (attr->config == PERF_COUNT_HW_CACHE_MISSES)
        return refuse(ENOENT);
    attr->type = PERF_TYPE_SOFTWARE;
    attr->config = PERF_COUNT_SW_TASK_CLOCK;
    return (int)syscall(SYS_perf_event_open, attr, thread, -1, -1, PERF_FLAG_FD_CLOEXEC);
}

struct work {
    atomic_int phase; /* 0: threads start; 1: ready; 2: work; 3: done */
    _Atomic uint64_t cpu_ns;
};

static uint64_t thread_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

/* 20 ms of processor time. */
static void *burn(void *context)
{
    struct work *work = context;
    uint64_t begin_ns = thread_ns();
    while (thread_ns() - begin_ns < 20 * NS_PER_MS)
        ;
    atomic_fetch_add(&work->cpu_ns, thread_ns() - begin_ns);
    return NULL;
}

static void *wait_and_burn(void *context)
{
    struct work *work = context;
    while (atomic_load(&work->phase) < 2)
        (void)usleep(100);
    return burn(context);
}

/* One thread that is there when counting begins, the main one, and one that starts later. */
static void child_main(struct work *work)
{
    pthread_t early, late;
    (void)pthread_create(&early, NULL, wait_and_burn, work);
    atomic_store(&work->phase, 1);
    while (atomic_load(&work->phase) < 2)
        (void)usleep(100);
    (void)pthread_create(&late, NULL, burn, work);
    (void)burn(work);
    (void)pthread_join(early, NULL);
    (void)pthread_join(late, NULL);
    atomic_store(&work->phase, 3);
    (void)pause();
}

static void await(struct work *work, int phase)
{
    while (atomic_load(&work->phase) < phase)
        (void)usleep(100);
}

Test(telemetry_cpu_counters, threads_that_are_there_and_that_come_are_counted, .timeout = 60)
{
    struct perf_event_attr attr = {.size = sizeof(attr), .exclude_kernel = 1, .exclude_hv = 1};
    int fd = open_clock(&attr, 0);
    if (fd < 0)
        cr_skip_test("this kernel lets nothing be counted");
    (void)close(fd);
    struct work *work =
        mmap(NULL, sizeof(*work), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    cr_assert_neq(work, MAP_FAILED);
    pid_t child = fork();
    if (child == 0) {
        child_main(work);
        _exit(0);
    }
    await(work, 1);
    const char *missing = NULL;
    struct cpu_counters *counters = cpu_counters_start(child, open_clock, &missing);
    atomic_store(&work->phase, 2);
    await(work, 3);
    struct cpu_count counts[CPU_COUNTERS_COUNT] = {{0}};
    cpu_counters_stop(counters, counts);
    (void)kill(child, SIGKILL);
    (void)waitpid(child, NULL, 0);
    cr_assert_not_null(counters, "%s", missing);
    cr_expect_null(counts[CPU_COUNTER_INSTRUCTIONS].missing);
    cr_expect_null(counts[CPU_COUNTER_CYCLES].missing);
    cr_expect_str_eq(counts[CPU_COUNTER_LLC_MISSES].missing, "no_counters");
    /* Three threads of 20 ms each, and what they do beside. */
    double counted_ns = (double)counts[CPU_COUNTER_CYCLES].value;
    double burnt_ns = (double)atomic_load(&work->cpu_ns);
    cr_expect(counted_ns >= 0.9 * burnt_ns && counted_ns < burnt_ns + 60e6, "%g of %g", counted_ns,
              burnt_ns);
    (void)munmap(work, sizeof(*work));
}
