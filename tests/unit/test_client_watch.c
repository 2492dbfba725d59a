#include <criterion/criterion.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/watch.h"

#define MIB (1ULL << 20)

/* The kernel's count of kills for memory as a test says; NULL: the machine's own
 * (tests/CMakeLists.txt puts this in the function's place). */
static const uint64_t *kernel_kills;
bool __real_sysmem_oom_kills(uint64_t *ret_count);

bool __wrap_sysmem_oom_kills(uint64_t *ret_count)
{
    if (kernel_kills == NULL)
        return __real_sysmem_oom_kills(ret_count);
    *ret_count = *kernel_kills;
    return true;
}

Test(client_watch, one_kill_by_the_kernel_is_seen)
{
    uint64_t kills = 7;
    struct watch watch;
    kernel_kills = &kills;
    watch_begin(&watch, getpid(), 0);
    cr_expect_not(watch_saw_oom_kill(&watch), "seven were before");
    kills = 8;
    cr_expect(watch_saw_oom_kill(&watch));
}

Test(client_watch, the_rule_counts_a_low_host_only_against_an_eater)
{
    const struct watch watch = {.limit_bytes = 1000 * MIB, .reserve_bytes = 512 * MIB};
    cr_expect_eq(watch_judge(&watch, 900 * MIB, 4000 * MIB), WATCH_FINE);
    cr_expect_eq(watch_judge(&watch, 1000 * MIB, 4000 * MIB), WATCH_FINE);
    cr_expect_eq(watch_judge(&watch, 1001 * MIB, 4000 * MIB), WATCH_OVER_LIMIT);
    cr_expect_eq(watch_judge(&watch, 900 * MIB, 511 * MIB), WATCH_HOST_LOW);
    cr_expect_eq(watch_judge(&watch, 900 * MIB, 512 * MIB), WATCH_FINE);
    cr_expect_eq(watch_judge(&watch, 100 * MIB, 1 * MIB), WATCH_FINE, "someone else eats");
    cr_expect_eq(watch_judge(&watch, 900 * MIB, 0), WATCH_FINE, "0 is unknown");
    const struct watch unlimited = {.reserve_bytes = 512 * MIB};
    cr_expect_eq(watch_judge(&unlimited, 1ULL << 50, 4000 * MIB), WATCH_FINE);
}

Test(client_watch, looks_are_the_rarer_the_more_memory_is_left)
{
    const uint64_t gib = 1ULL << 30;
    const struct watch free_watch = {.reserve_bytes = gib / 2};
    struct watch_look look = {.rss_bytes = gib, .available_bytes = 100 * gib};
    cr_expect_eq(watch_pause_ns(&free_watch, &look), 500 * NS_PER_MS);
    look.available_bytes = gib / 2 + 8 * gib; /* a quarter of a second at 32 GiB/s */
    uint64_t pause_ns = watch_pause_ns(&free_watch, &look);
    cr_expect(pause_ns > 240 * NS_PER_MS && pause_ns < 260 * NS_PER_MS, "%lu", pause_ns);
    look.available_bytes = gib;
    cr_expect_eq(watch_pause_ns(&free_watch, &look), 50 * NS_PER_MS);
    look.available_bytes = gib / 4;
    cr_expect_eq(watch_pause_ns(&free_watch, &look), 50 * NS_PER_MS, "under the reserve");
    look.available_bytes = 0;
    cr_expect_eq(watch_pause_ns(&free_watch, &look), 50 * NS_PER_MS, "unknown");
    const struct watch limited = {.limit_bytes = 9 * gib, .reserve_bytes = gib / 2};
    look = (struct watch_look){.rss_bytes = gib, .available_bytes = 100 * gib};
    cr_expect_eq(watch_pause_ns(&limited, &look), pause_ns, "8 GiB to the limit");
    look.rss_bytes = 10 * gib;
    cr_expect_eq(watch_pause_ns(&limited, &look), 50 * NS_PER_MS, "over the limit");
}

Test(client_watch, a_worker_is_believed_only_about_a_descendant)
{
    int out[2];
    cr_assert_eq(pipe(out), 0);
    pid_t child = fork();
    if (child == 0) {
        pid_t grandchild = fork();
        if (grandchild == 0)
            for (;;)
                pause();
        (void)!write(out[1], &grandchild, sizeof(grandchild));
        for (;;)
            pause();
    }
    (void)close(out[1]);
    pid_t grandchild = 0;
    cr_assert_eq(read(out[0], &grandchild, sizeof(grandchild)), (ssize_t)sizeof(grandchild));
    struct watch watch;
    watch_begin(&watch, child, 0);
    cr_expect_eq(watch.pid, child);
    watch_set_worker(&watch, getpid());
    cr_expect_eq(watch.pid, child, "an ancestor is no worker");
    watch_set_worker(&watch, 1);
    cr_expect_eq(watch.pid, child);
    watch_set_worker(&watch, INT64_MAX);
    cr_expect_eq(watch.pid, child);
    watch_set_worker(&watch, grandchild);
    cr_expect_eq(watch.pid, grandchild);
    struct watch_look look = watch_take_look(&watch);
    cr_expect_eq(look.finding, WATCH_FINE);
    cr_expect_gt(look.rss_bytes, 0);
    watch.limit_bytes = 1;
    cr_expect_eq(watch_take_look(&watch).finding, WATCH_OVER_LIMIT);
    kill(grandchild, SIGKILL);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    /* The pipe's last writer: its memory is given back before its descriptors are. */
    cr_expect_eq(read(out[0], &grandchild, 1), 0);
    cr_expect_eq(watch_take_look(&watch).finding, WATCH_FINE, "gone is not over");
    cr_expect_not(watch_saw_oom_kill(&watch));
}
