#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/spawn.h"
#include "patience.h"

static int open_log(void)
{
    char path[] = "spawn_log_XXXXXX";
    int fd = mkostemp(path, O_CLOEXEC);
    cr_assert_geq(fd, 0);
    unlink(path);
    return fd;
}

static struct spawn start_shell(const char *script, int log_fd)
{
    char *argv[] = {(char *)"sh", (char *)"-c", (char *)script, NULL};
    struct spawn spawn = {0};
    struct err err = {0};
    cr_assert_eq(spawn_start(argv, log_fd, &spawn, &err), STATUS_OK, "%s", err.text);
    return spawn;
}

static uint64_t in_ms(uint64_t ms)
{
    return clock_now_ns() + ms * NS_PER_MS;
}

/* All of the child's output. */
static void read_output(struct spawn *spawn, char *text, size_t text_bytes)
{
    size_t length = 0;
    ssize_t got;
    while ((got = read(spawn->out_fd, text + length, text_bytes - 1 - length)) > 0)
        length += (size_t)got;
    text[length] = '\0';
}

Test(base_spawn, a_child_in_another_folder)
{
    char *argv[] = {(char *)"pwd", NULL};
    struct spawn spawn = {0};
    struct err err = {0};
    int log_fd = open_log();
    char text[64];
    cr_assert_eq(spawn_start_in("/usr", argv, log_fd, &spawn, &err), STATUS_OK, "%s", err.text);
    read_output(&spawn, text, sizeof(text));
    cr_assert_str_eq(text, "/usr\n");
    spawn_release(&spawn);
    cr_assert_eq(spawn_start_in("/nonexistent", argv, log_fd, &spawn, &err), STATUS_NOT_FOUND);
    close(log_fd);
}

Test(base_spawn, streams_go_where_they_belong)
{
    int log_fd = open_log();
    struct spawn spawn = start_shell("read x; echo \"got $x\"; echo noise >&2; exit 3", log_fd);
    struct err err = {0};
    cr_assert_eq(spawn_write(&spawn, "hello\n", 6, in_ms(PATIENCE_MS), &err), STATUS_OK, "%s",
                 err.text);
    char text[256];
    read_output(&spawn, text, sizeof(text));
    cr_assert_str_eq(text, "got hello\n");
    cr_assert(spawn_wait(&spawn, in_ms(PATIENCE_MS)));
    char exit_text[SPAWN_EXIT_TEXT_BYTES];
    spawn_exit_text(spawn.wait_status, exit_text);
    cr_assert_str_eq(exit_text, "exit 3");
    cr_assert_gt(spawn.usage.ru_maxrss, 0);
    cr_assert_eq(pread(log_fd, text, sizeof(text), 0), 6);
    cr_assert_eq(memcmp(text, "noise\n", 6), 0);
    spawn_release(&spawn);
    close(log_fd);
}

Test(base_spawn, the_child_gets_three_descriptors_and_a_clean_slate)
{
    int log_fd = open_log();
    int leak = open("/dev/null", O_RDONLY); /* not close-on-exec, as inherited ones are */
    cr_assert_geq(dup2(leak, 77), 0);
    sigset_t usr1;
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    sigprocmask(SIG_BLOCK, &usr1, NULL);
    signal(SIGPIPE, SIG_IGN);
    /* grep takes the shell's place: a shell may have signals blocked while it starts a child */
    struct spawn spawn = start_shell("exec 2>/dev/null; ls /proc/$$/fd | tr '\\n' ' '; "
                                     "exec grep -E 'Sig(Blk|Ign)' /proc/self/status",
                                     log_fd);
    char text[512];
    read_output(&spawn, text, sizeof(text));
    cr_assert(strstr(text, "77") == NULL, "%s", text);
    cr_assert(strstr(text, "SigBlk:\t0000000000000000") != NULL, "%s", text);
    const char *ignored = strstr(text, "SigIgn:\t");
    cr_assert_not_null(ignored);
    /* signals 32 and 33 are the C library's own */
    cr_assert_eq(strtoull(ignored + 8, NULL, 16) & 0x7FFFFFFF, 0, "%s", text);
    spawn_release(&spawn);
    close(leak);
    close(77);
    close(log_fd);
}

Test(base_spawn, what_cannot_be_started_is_said_at_once)
{
    int log_fd = open_log();
    char *argv[] = {(char *)"no-such-program-here", NULL};
    struct spawn spawn = {0};
    struct err err = {0};
    cr_assert_eq(spawn_start(argv, log_fd, &spawn, &err), STATUS_NOT_FOUND);
    cr_assert(strstr(err.text, "no-such-program-here") != NULL);
    cr_assert_eq(spawn.pid, 0);
    char *not_a_program[] = {(char *)"/dev/null", NULL};
    cr_assert_eq(spawn_start(not_a_program, log_fd, &spawn, NULL), STATUS_IO);
    spawn_release(&spawn);
    close(log_fd);
}

Test(base_spawn, the_ladder_ends_even_one_that_ignores_sigterm)
{
    int log_fd = open_log();
    struct spawn spawn =
        start_shell("trap '' TERM; echo ready; while :; do sleep 0.05; done", log_fd);
    char ready[6];
    cr_assert_eq(read(spawn.out_fd, ready, 6), 6);
    uint64_t before = clock_now_ns();
    cr_assert(!spawn_has_exited(&spawn));
    spawn_terminate(&spawn);
    cr_assert(!spawn_wait(&spawn, before + 150 * NS_PER_MS));
    cr_assert_geq(clock_now_ns() - before, 150 * NS_PER_MS);
    cr_assert(spawn_kill(&spawn));
    cr_assert(WIFSIGNALED(spawn.wait_status));
    cr_assert_eq(WTERMSIG(spawn.wait_status), SIGKILL);
    char text[SPAWN_EXIT_TEXT_BYTES];
    spawn_exit_text(spawn.wait_status, text);
    cr_assert_str_eq(text, "signal 9 (KILL)");
    spawn_release(&spawn);
    close(log_fd);
}

/* The leader waits for its child, which leaves only when it is told to. */
Test(base_spawn, sigterm_goes_to_the_whole_group)
{
    int log_fd = open_log();
    struct spawn spawn = start_shell("trap 'wait; exit 3' TERM; "
                                     "(trap 'echo told; exit' TERM; echo ready; "
                                     "while :; do sleep 0.05; done) & "
                                     "wait; exit 3",
                                     log_fd);
    char text[6];
    cr_assert_eq(read(spawn.out_fd, text, 6), 6);
    spawn_terminate(&spawn);
    cr_assert(spawn_wait(&spawn, in_ms(PATIENCE_MS)));
    cr_assert(WIFEXITED(spawn.wait_status) && WEXITSTATUS(spawn.wait_status) == 3);
    cr_assert_eq(read(spawn.out_fd, text, 5), 5);
    cr_assert_eq(memcmp(text, "told\n", 5), 0);
    spawn_release(&spawn);
    close(log_fd);
}

Test(base_spawn, sigterm_is_enough_for_one_that_heeds_it_even_stopped)
{
    int log_fd = open_log();
    struct spawn spawn = start_shell("kill -STOP $$; sleep 100", log_fd);
    int status = 0;
    cr_assert_eq(waitpid(spawn.pid, &status, WUNTRACED), spawn.pid);
    cr_assert(WIFSTOPPED(status));
    spawn_terminate(&spawn);
    cr_assert(spawn_wait(&spawn, in_ms(PATIENCE_MS)));
    cr_assert_eq(WTERMSIG(spawn.wait_status), SIGTERM);
    spawn_release(&spawn);
    close(log_fd);
}

Test(base_spawn, grandchildren_of_the_group_go_with_it)
{
    int log_fd = open_log();
    struct spawn spawn = start_shell("sleep 1000 & echo $!; exit 0", log_fd);
    char text[32] = "";
    cr_assert_gt(read(spawn.out_fd, text, sizeof(text) - 1), 0);
    pid_t grandchild = (pid_t)strtol(text, NULL, 10);
    cr_assert(spawn_wait(&spawn, in_ms(PATIENCE_MS)));
    /* the pipe's other end is closed only when the grandchild is dead */
    cr_assert_eq(read(spawn.out_fd, text, sizeof(text)), 0);
    for (int i = 0; kill(grandchild, 0) == 0; i++) {
        char dir[64];
        char state[512] = "";
        snprintf(dir, sizeof(dir), "/proc/%d/stat", (int)grandchild);
        int fd = open(dir, O_RDONLY);
        (void)!read(fd, state, sizeof(state) - 1);
        close(fd);
        if (strstr(state, ") Z ") != NULL)
            break; /* dead; whoever adopted it has not collected it */
        cr_assert_lt(i, (int)(PATIENCE_MS / 10), "grandchild %d lives", (int)grandchild);
        usleep(10000);
    }
    spawn_release(&spawn);
    close(log_fd);
}

Test(base_spawn, writing_to_a_dead_child_raises_no_signal)
{
    int log_fd = open_log();
    signal(SIGPIPE, SIG_DFL);
    struct spawn spawn = start_shell("exit 0", log_fd);
    while (!spawn_has_exited(&spawn))
        usleep(1000);
    struct err err = {0};
    cr_assert_eq(spawn_write(&spawn, "x", 1, in_ms(100), &err), STATUS_CRASHED);
    spawn_release(&spawn);
    close(log_fd);
}

Test(base_spawn, writing_to_a_child_that_does_not_read_has_a_deadline)
{
    int log_fd = open_log();
    static char much[1 << 20];
    memset(much, 'x', sizeof(much));
    struct spawn spawn = start_shell("sleep 1000", log_fd);
    struct err err = {0};
    cr_assert_eq(spawn_write(&spawn, much, sizeof(much), in_ms(100), &err), STATUS_TIMEOUT);
    spawn_release(&spawn);
    cr_assert_eq(waitpid(-1, NULL, WNOHANG), -1, "no child is left");
    cr_assert_eq(errno, ECHILD);
    close(log_fd);
}

/* --- a child that another process makes --- */

#define PASSED SPAWN_PASSED_FDS

/* What a server does: takes one request's byte and its descriptors. */
static char take_fds(int socket_fd, int fds[PASSED])
{
    char byte = 0;
    struct iovec bytes = {.iov_base = &byte, .iov_len = 1};
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(PASSED * sizeof(int))];
    } rights;
    struct msghdr message = {.msg_iov = &bytes,
                             .msg_iovlen = 1,
                             .msg_control = &rights,
                             .msg_controllen = sizeof(rights.space)};
    cr_assert_eq(recvmsg(socket_fd, &message, 0), 1);
    cr_assert_eq(rights.header.cmsg_len, CMSG_LEN(PASSED * sizeof(int)));
    memcpy(fds, CMSG_DATA(&rights.header), PASSED * sizeof(int));
    return byte;
}

/* And then: a process that has them as its standard ones, in a group of its own. */
static pid_t run_with(const int fds[PASSED], const char *script)
{
    pid_t pid = fork();
    if (pid == 0) {
        (void)setpgid(0, 0);
        for (int i = 0; i < PASSED; i++)
            (void)dup2(fds[i], i);
        closefrom(PASSED);
        (void)execlp("sh", "sh", "-c", script, (char *)NULL);
        _exit(127);
    }
    (void)setpgid(pid, pid);
    for (int i = 0; i < PASSED; i++)
        close(fds[i]);
    return pid;
}

Test(base_spawn, a_child_that_a_server_makes_is_as_one_of_our_own)
{
    int ends[2];
    int log_fd = open_log();
    cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    const struct spawn server = {.in_fd = ends[0]};
    struct spawn spawn = {0};
    struct err err = {0};
    cr_assert_eq(spawn_ask(&server, 'k', log_fd, &spawn, &err), STATUS_OK, "%s", err.text);
    cr_expect_eq(spawn.pid, 0);
    int fds[PASSED];
    cr_expect_eq(take_fds(ends[1], fds), 'k');
    pid_t pid = run_with(fds, "read x; echo \"got $x\"; echo noise >&2; sleep 300 & exit 3");
    cr_expect_not(spawn_adopt(&spawn, 1), "nobody's child");
    cr_expect_not(spawn_adopt(&spawn, getppid()), "our parent");
    cr_expect_not(spawn_adopt(&spawn, -1));
    cr_expect_eq(spawn.pid, 0);
    cr_assert(spawn_adopt(&spawn, pid));
    cr_assert_eq(spawn_write(&spawn, "hello\n", 6, in_ms(PATIENCE_MS), &err), STATUS_OK, "%s",
                 err.text);
    char text[256];
    ssize_t got = read(spawn.out_fd, text, sizeof(text));
    cr_assert_eq(got, 10);
    cr_assert_eq(memcmp(text, "got hello\n", 10), 0);
    cr_assert(spawn_wait(&spawn, in_ms(60000)));
    cr_expect_eq(WEXITSTATUS(spawn.wait_status), 3);
    read_output(&spawn, text, sizeof(text)); /* ends only when the rest of the group is dead */
    spawn_release(&spawn);
    cr_assert_eq(pread(log_fd, text, sizeof(text), 0), 6);
    close(ends[0]);
    close(ends[1]);
    close(log_fd);
}

Test(base_spawn, a_server_that_is_gone_is_said)
{
    int ends[2];
    int log_fd = open_log();
    cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    close(ends[1]);
    const struct spawn server = {.in_fd = ends[0]};
    struct spawn spawn = {0};
    struct err err = {0};
    cr_assert_eq(spawn_ask(&server, 'k', log_fd, &spawn, &err), STATUS_CRASHED);
    cr_expect_eq(spawn.pid, 0);
    close(ends[0]);
    close(log_fd);
}

Test(base_spawn, a_servers_standard_input_is_a_socket)
{
    char *argv[] = {(char *)"sh", (char *)"-c", (char *)"readlink /proc/$$/fd/0", NULL};
    struct spawn spawn = {0};
    struct err err = {0};
    int log_fd = open_log();
    char text[64];
    cr_assert_eq(spawn_start_server(NULL, argv, log_fd, &spawn, &err), STATUS_OK, "%s", err.text);
    read_output(&spawn, text, sizeof(text));
    cr_expect_eq(strncmp(text, "socket:", 7), 0, "%s", text);
    spawn_release(&spawn);
    close(log_fd);
}

static volatile sig_atomic_t continues;

static void on_continue(int signal_number)
{
    (void)signal_number;
    continues++;
}

/* Process 0 is nobody: what is sent to its group would come to our own. */
Test(base_spawn, one_that_was_never_started_or_has_ended_is_left_alone)
{
    struct spawn spawn[] = {{.in_fd = -1, .out_fd = -1},
                            {.is_reaped = true, .in_fd = -1, .out_fd = -1}};
    cr_assert(getpgrp() == getpid() || setpgid(0, 0) == 0);
    spawn[1].pid = getpid();
    cr_assert_neq(signal(SIGTERM, SIG_IGN), SIG_ERR);
    cr_assert_eq(signal(SIGCONT, on_continue), SIG_DFL);
    for (size_t i = 0; i < ARRAY_COUNT(spawn); i++) {
        cr_expect(spawn_has_exited(&spawn[i]));
        cr_expect(spawn_wait(&spawn[i], 0));
        spawn_terminate(&spawn[i]);
        cr_expect(spawn_kill(&spawn[i]));
    }
    spawn_release(&spawn[0]);
    spawn_release(NULL);
    cr_expect_eq(continues, 0);
}
