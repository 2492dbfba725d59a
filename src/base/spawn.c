#include "base/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

extern char **environ;

#define FIRST_FREE_FD  3
#define WAIT_MIN_NS    (50 * NS_PER_US)
#define WAIT_MAX_NS    (5 * NS_PER_MS)
#define STUCK_AFTER_NS (10 * NS_PER_S)

static void close_fd(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
    *fd = -1;
}

/* Moves a descriptor out of the way of 0, 1 and 2: a program started with one of them closed would
 * otherwise get its pipes there. */
static bool move_up(int *fd)
{
    if (*fd >= FIRST_FREE_FD)
        return true;
    int moved = fcntl(*fd, F_DUPFD_CLOEXEC, FIRST_FREE_FD);
    if (moved < 0)
        return false;
    (void)close(*fd);
    *fd = moved;
    return true;
}

static enum status make_pipe(int fds[2], struct err *err)
{
    if (pipe2(fds, O_CLOEXEC) != 0) {
        fds[0] = -1;
        fds[1] = -1;
        return ERR(err, STATUS_IO, "cannot make a pipe: %s", strerror(errno));
    }
    if (!move_up(&fds[0]) || !move_up(&fds[1]))
        return ERR(err, STATUS_IO, "cannot move a pipe: %s", strerror(errno));
    return STATUS_OK;
}

/* 0 or an errno. */
static int set_actions(posix_spawn_file_actions_t *actions, const char *folder, int in_fd,
                       int out_fd, int log_fd)
{
    int failed = posix_spawn_file_actions_adddup2(actions, in_fd, STDIN_FILENO);
    if (failed == 0 && folder != NULL)
        failed = posix_spawn_file_actions_addchdir_np(actions, folder);
    if (failed == 0)
        failed = posix_spawn_file_actions_adddup2(actions, out_fd, STDOUT_FILENO);
    if (failed == 0)
        failed = posix_spawn_file_actions_adddup2(actions, log_fd, STDERR_FILENO);
    /* Also what was inherited from whoever started us, and is not close-on-exec. */
    if (failed == 0)
        failed = posix_spawn_file_actions_addclosefrom_np(actions, FIRST_FREE_FD);
    return failed;
}

/* 0 or an errno. */
static int set_attributes(posix_spawnattr_t *attributes)
{
    sigset_t none;
    sigset_t all;
    (void)sigemptyset(&none);
    (void)sigfillset(&all);
    int failed = posix_spawnattr_setpgroup(attributes, 0);
    if (failed == 0)
        failed = posix_spawnattr_setsigmask(attributes, &none);
    if (failed == 0)
        failed = posix_spawnattr_setsigdefault(attributes, &all);
    if (failed == 0)
        failed = posix_spawnattr_setflags(
            attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    return failed;
}

static int start_child(const char *folder, char *const argv[], int in_fd, int out_fd, int log_fd,
                       pid_t *ret_pid)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    int failed = posix_spawn_file_actions_init(&actions);
    if (failed != 0)
        return failed;
    failed = posix_spawnattr_init(&attributes);
    if (failed == 0) {
        failed = set_actions(&actions, folder, in_fd, out_fd, log_fd);
        if (failed == 0)
            failed = set_attributes(&attributes);
        if (failed == 0)
            failed = posix_spawnp(ret_pid, argv[0], &actions, &attributes, argv, environ);
        (void)posix_spawnattr_destroy(&attributes);
    }
    (void)posix_spawn_file_actions_destroy(&actions);
    return failed;
}

enum status spawn_start(char *const argv[], int log_fd, struct spawn *ret_spawn, struct err *err)
{
    return spawn_start_in(NULL, argv, log_fd, ret_spawn, err);
}

enum status spawn_start_in(const char *folder, char *const argv[], int log_fd,
                           struct spawn *ret_spawn, struct err *err)
{
    ASSERT(argv[0] != NULL && log_fd >= FIRST_FREE_FD);
    int to_child[2] = {-1, -1};
    int from_child[2] = {-1, -1};
    enum status status = make_pipe(to_child, err);
    if (status == STATUS_OK)
        status = make_pipe(from_child, err);
    /* Only our end: the child's reads and writes block as usual. */
    if (status == STATUS_OK && fcntl(to_child[1], F_SETFL, O_WRONLY | O_NONBLOCK) != 0)
        status = ERR(err, STATUS_IO, "cannot set up a pipe: %s", strerror(errno));
    pid_t pid = 0;
    if (status == STATUS_OK) {
        int failed = start_child(folder, argv, to_child[0], from_child[1], log_fd, &pid);
        if (failed != 0)
            status = ERR(err, failed == ENOENT ? STATUS_NOT_FOUND : STATUS_IO,
                         "cannot start '%s': %s", argv[0], strerror(failed));
    }
    close_fd(&to_child[0]);
    close_fd(&from_child[1]);
    if (status != STATUS_OK) {
        close_fd(&to_child[1]);
        close_fd(&from_child[0]);
        return status;
    }
    *ret_spawn = (struct spawn){.pid = pid, .in_fd = to_child[1], .out_fd = from_child[0]};
    return STATUS_OK;
}

/* write(2) to a pipe that may have no reader: EPIPE, and the SIGPIPE that comes with it is taken
 * back before anyone sees it, whatever the program does with that signal otherwise. */
static ssize_t write_quietly(int fd, const void *bytes, size_t bytes_count)
{
    sigset_t pipe_only;
    sigset_t before;
    sigset_t pending;
    (void)sigemptyset(&pipe_only);
    (void)sigaddset(&pipe_only, SIGPIPE);
    (void)sigpending(&pending);
    bool was_pending = sigismember(&pending, SIGPIPE) == 1;
    (void)pthread_sigmask(SIG_BLOCK, &pipe_only, &before);
    ssize_t done = write(fd, bytes, bytes_count);
    int why = errno;
    if (done < 0 && why == EPIPE && !was_pending) {
        const struct timespec now = {0};
        (void)sigtimedwait(&pipe_only, NULL, &now);
    }
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = why;
    return done;
}

enum status spawn_write(const struct spawn *spawn, const void *bytes, size_t bytes_count,
                        uint64_t deadline_ns, struct err *err)
{
    const char *next = bytes;
    while (bytes_count > 0) {
        ssize_t done = write_quietly(spawn->in_fd, next, bytes_count);
        if (done >= 0) {
            next += done;
            bytes_count -= (size_t)done;
            continue;
        }
        if (errno == EPIPE || errno == EBADF)
            return ERR(err, STATUS_CRASHED, "the process has closed its standard input");
        if (errno != EAGAIN && errno != EINTR)
            return ERR(err, STATUS_IO, "cannot write to the process: %s", strerror(errno));
        uint64_t now = clock_now_ns();
        if (now >= deadline_ns)
            return ERR(err, STATUS_TIMEOUT, "the process does not read its standard input");
        struct pollfd polled = {.fd = spawn->in_fd, .events = POLLOUT};
        uint64_t wait_ms = (deadline_ns - now) / NS_PER_MS + 1;
        (void)poll(&polled, 1, wait_ms > 1000 ? 1000 : (int)wait_ms);
    }
    return STATUS_OK;
}

void spawn_close_in(struct spawn *spawn)
{
    close_fd(&spawn->in_fd);
}

bool spawn_has_exited(const struct spawn *spawn)
{
    if (spawn->pid <= 0 || spawn->is_reaped)
        return true;
    siginfo_t info = {0};
    if (waitid(P_PID, (id_t)spawn->pid, &info, WEXITED | WNOHANG | WNOWAIT) != 0)
        return errno == ECHILD;
    return info.si_pid == spawn->pid;
}

/* Its leader is dead but not collected: the group's number is still ours. */
static void collect(struct spawn *spawn)
{
    (void)kill(-spawn->pid, SIGKILL);
    pid_t got;
    do
        got = wait4(spawn->pid, &spawn->wait_status, 0, &spawn->usage);
    while (got < 0 && errno == EINTR);
    spawn->is_reaped = true;
}

bool spawn_wait(struct spawn *spawn, uint64_t deadline_ns)
{
    if (spawn->pid <= 0 || spawn->is_reaped)
        return true;
    uint64_t pause_ns = WAIT_MIN_NS;
    while (!spawn_has_exited(spawn)) {
        uint64_t now = clock_now_ns();
        if (now >= deadline_ns)
            return false;
        uint64_t left_ns = deadline_ns - now;
        struct timespec pause = {.tv_nsec = (long)(left_ns < pause_ns ? left_ns : pause_ns)};
        (void)nanosleep(&pause, NULL);
        pause_ns = pause_ns * 2 < WAIT_MAX_NS ? pause_ns * 2 : WAIT_MAX_NS;
    }
    collect(spawn);
    return true;
}

bool spawn_end(struct spawn *spawn, uint64_t grace_ns)
{
    if (spawn->pid <= 0 || spawn->is_reaped)
        return true;
    (void)kill(-spawn->pid, SIGTERM);
    /* A stopped process would not see it. */
    (void)kill(-spawn->pid, SIGCONT);
    if (spawn_wait(spawn, clock_now_ns() + grace_ns))
        return true;
    (void)kill(-spawn->pid, SIGKILL);
    return spawn_wait(spawn, clock_now_ns() + STUCK_AFTER_NS);
}

void spawn_release(struct spawn *spawn)
{
    if (spawn == NULL || spawn->pid <= 0)
        return;
    close_fd(&spawn->in_fd);
    close_fd(&spawn->out_fd);
    (void)spawn_end(spawn, 0);
    *spawn = (struct spawn){.in_fd = -1, .out_fd = -1};
}

void spawn_exit_text(int wait_status, char text[SPAWN_EXIT_TEXT_BYTES])
{
    if (WIFSIGNALED(wait_status)) {
        const char *name = sigabbrev_np(WTERMSIG(wait_status));
        (void)snprintf(text, SPAWN_EXIT_TEXT_BYTES, "signal %d%s%s%s", WTERMSIG(wait_status),
                       name != NULL ? " (" : "", name != NULL ? name : "", name != NULL ? ")" : "");
    } else {
        (void)snprintf(text, SPAWN_EXIT_TEXT_BYTES, "exit %d", WEXITSTATUS(wait_status));
    }
}
