#include "base/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
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

/* [0] is read, [1] is written. */
static enum status make_pipe(bool is_socket, int fds[2], struct err *err)
{
    int failed = is_socket ? socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds)
                           : pipe2(fds, O_CLOEXEC);
    if (failed != 0) {
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

/* --- the two pipes --- */

struct ends {
    int in_fds[2];  /* to the child */
    int out_fds[2]; /* from it */
};

static void close_ends(struct ends *ends, bool is_ours_kept)
{
    close_fd(&ends->in_fds[0]);
    close_fd(&ends->out_fds[1]);
    if (is_ours_kept)
        return;
    close_fd(&ends->in_fds[1]);
    close_fd(&ends->out_fds[0]);
}

static enum status make_ends(bool is_socket, struct ends *ret_ends, struct err *err)
{
    struct ends ends = {.in_fds = {-1, -1}, .out_fds = {-1, -1}};
    enum status status = make_pipe(is_socket, ends.in_fds, err);
    if (status == STATUS_OK)
        status = make_pipe(false, ends.out_fds, err);
    /* Only our end: the child's reads and writes block as usual. */
    int flags = status == STATUS_OK ? fcntl(ends.in_fds[1], F_GETFL) : 0;
    if (status == STATUS_OK &&
        (flags < 0 || fcntl(ends.in_fds[1], F_SETFL, flags | O_NONBLOCK) != 0))
        status = ERR(err, STATUS_IO, "cannot set up a pipe: %s", strerror(errno));
    if (status == STATUS_OK)
        *ret_ends = ends;
    else
        close_ends(&ends, false);
    return status;
}

static struct spawn started(const struct ends *ends, pid_t pid)
{
    return (struct spawn){.pid = pid, .in_fd = ends->in_fds[1], .out_fd = ends->out_fds[0]};
}

static enum status start(bool is_socket, const char *folder, char *const argv[], int log_fd,
                         struct spawn *ret_spawn, struct err *err)
{
    ASSERT(argv[0] != NULL && log_fd >= FIRST_FREE_FD);
    struct ends ends;
    enum status status = make_ends(is_socket, &ends, err);
    if (status != STATUS_OK)
        return status;
    pid_t pid = 0;
    int failed = start_child(folder, argv, ends.in_fds[0], ends.out_fds[1], log_fd, &pid);
    close_ends(&ends, failed == 0);
    if (failed != 0)
        return ERR(err, failed == ENOENT ? STATUS_NOT_FOUND : STATUS_IO, "cannot start '%s': %s",
                   argv[0], strerror(failed));
    *ret_spawn = started(&ends, pid);
    return STATUS_OK;
}

enum status spawn_start(char *const argv[], int log_fd, struct spawn *ret_spawn, struct err *err)
{
    return start(false, NULL, argv, log_fd, ret_spawn, err);
}

enum status spawn_start_in(const char *folder, char *const argv[], int log_fd,
                           struct spawn *ret_spawn, struct err *err)
{
    return start(false, folder, argv, log_fd, ret_spawn, err);
}

enum status spawn_start_server(const char *folder, char *const argv[], int log_fd,
                               struct spawn *ret_spawn, struct err *err)
{
    return start(true, folder, argv, log_fd, ret_spawn, err);
}

/* --- a child that another process makes --- */

/* One message: a byte, and the descriptors. False with errno. */
static bool send_fds(int socket_fd, char kind, const int fds[SPAWN_PASSED_FDS])
{
    struct iovec bytes = {.iov_base = &kind, .iov_len = 1};
    union {
        struct cmsghdr header; /* for its alignment */
        char space[CMSG_SPACE(SPAWN_PASSED_FDS * sizeof(int))];
    } rights = {0};
    struct msghdr message = {.msg_iov = &bytes,
                             .msg_iovlen = 1,
                             .msg_control = &rights,
                             .msg_controllen = sizeof(rights.space)};
    rights.header = (struct cmsghdr){.cmsg_len = CMSG_LEN(SPAWN_PASSED_FDS * sizeof(int)),
                                     .cmsg_level = SOL_SOCKET,
                                     .cmsg_type = SCM_RIGHTS};
    memcpy(CMSG_DATA(&rights.header), fds, SPAWN_PASSED_FDS * sizeof(int));
    ssize_t done;
    do
        done = sendmsg(socket_fd, &message, MSG_NOSIGNAL);
    while (done < 0 && errno == EINTR);
    return done == 1;
}

enum status spawn_ask(const struct spawn *server, char kind, int log_fd, struct spawn *ret_spawn,
                      struct err *err)
{
    struct ends ends;
    enum status status = make_ends(false, &ends, err);
    if (status != STATUS_OK)
        return status;
    const int fds[SPAWN_PASSED_FDS] = {ends.in_fds[0], ends.out_fds[1], log_fd};
    bool is_sent = send_fds(server->in_fd, kind, fds);
    int why = errno;
    close_ends(&ends, is_sent);
    if (!is_sent)
        return ERR(err, STATUS_CRASHED, "it does not take requests: %s", strerror(why));
    *ret_spawn = started(&ends, 0);
    return STATUS_OK;
}

bool spawn_adopt(struct spawn *spawn, int64_t pid)
{
    siginfo_t info = {0};
    if (pid <= 1 || pid > INT32_MAX ||
        waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) != 0)
        return false;
    spawn->pid = (pid_t)pid;
    return true;
}

void spawn_drop(struct spawn *spawn)
{
    close_fd(&spawn->in_fd);
    close_fd(&spawn->out_fd);
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
        (void)poll(&polled, 1, clock_poll_ms(deadline_ns - now, 1000));
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
    /* Members of its group that are our children by now (spawn_adopt()). */
    while (waitpid(-spawn->pid, NULL, WNOHANG) > 0)
        ;
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

void spawn_terminate(const struct spawn *spawn)
{
    if (spawn->pid <= 0 || spawn->is_reaped)
        return;
    (void)kill(-spawn->pid, SIGTERM);
    /* A stopped process would not see it. */
    (void)kill(-spawn->pid, SIGCONT);
}

bool spawn_kill(struct spawn *spawn)
{
    if (spawn->pid <= 0 || spawn->is_reaped)
        return true;
    (void)kill(-spawn->pid, SIGKILL);
    return spawn_wait(spawn, clock_now_ns() + STUCK_AFTER_NS);
}

void spawn_release(struct spawn *spawn)
{
    if (spawn == NULL || spawn->pid <= 0)
        return;
    spawn_drop(spawn);
    (void)spawn_kill(spawn);
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
