#include "client/ladder.h"

#include <criterion/criterion.h>

#include "base/clock.h"
#include "scratch.h"

/* Nobody waits so long in a test that passes. */
#define LONG_NS (600 * NS_PER_S)

static volatile sig_atomic_t signals_count;

/* A process that stays. */
static void start(struct spawn *spawn)
{
    char path[] = "/tmp/tokmark-ladder-XXXXXX";
    char *const argv[] = {(char *)"sleep", (char *)"1000", NULL};
    struct err err = {0};
    int fd = mkstemp(path);
    cr_assert_geq(fd, 3);
    (void)unlink(path);
    cr_assert_eq(spawn_start(argv, fd, spawn, &err), STATUS_OK, "%s", err.text);
    (void)close(fd);
}

/* Has `so many` signals come: is the wait for a worker that is to leave by itself cut short? */
static void expect_cut(int count, uint64_t kill_grace_ns)
{
    const struct client_options options = {.interrupt = &signals_count,
                                           .kill_grace_ns = kill_grace_ns};
    struct spawn spawn;
    start(&spawn);
    signals_count = count;
    uint64_t deadline_ns = clock_now_ns() + LONG_NS;
    cr_expect_not(ladder_wait(&spawn, &options, deadline_ns), "it lives");
    cr_expect_lt(clock_now_ns(), deadline_ns, "after %d signals", count);
    spawn_release(&spawn);
}

Test(client_ladder, one_signal_leaves_the_grace_and_a_second_nothing)
{
    expect_cut(1, 20 * NS_PER_MS);
    expect_cut(2, LONG_NS);
}

Test(client_ladder, who_listens_to_sigterm_is_not_killed)
{
    const struct client_options options = {.interrupt = &signals_count, .kill_grace_ns = LONG_NS};
    struct spawn spawn;
    start(&spawn);
    ladder_end(&spawn, &options);
    cr_assert(spawn.is_reaped);
    char text[SPAWN_EXIT_TEXT_BYTES];
    spawn_exit_text(spawn.wait_status, text);
    cr_expect_str_eq(text, "signal 15 (TERM)");
    spawn_release(&spawn);
}
