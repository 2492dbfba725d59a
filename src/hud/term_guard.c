#include "hud/term_guard.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#define DISMISSED 'd'
#define PIPE_FD   3

/* A key that stops or ends the other must not end it; nor writing from the background. */
static void ignore_signals(void)
{
    static const int signals[] = {SIGINT,  SIGQUIT, SIGTERM, SIGHUP, SIGTSTP,
                                  SIGTTOU, SIGTTIN, SIGPIPE, SIGCHLD};
    struct sigaction action = {.sa_handler = SIG_IGN};
    (void)sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
        (void)sigaction(signals[i], &action, NULL);
}

/* The child; only what a handler might call. It keeps nothing of the other's files: locks and pipes
 * must end with that. */
_Noreturn static void stand_guard(int fd, const struct termios *modes, const char *text,
                                  size_t text_bytes)
{
    char word = 0;
    ssize_t count = 0;
    ignore_signals();
    (void)setpgid(0, 0);
    if (fd != PIPE_FD && dup2(fd, PIPE_FD) < 0)
        _exit(1);
    if (close_range(PIPE_FD + 1, ~0U, 0) != 0)
        _exit(1);
    do
        count = read(PIPE_FD, &word, 1);
    while (count < 0 && errno == EINTR);
    if (count == 0) {
        (void)!write(STDOUT_FILENO, text, text_bytes);
        (void)tcsetattr(STDIN_FILENO, TCSANOW, modes);
    }
    _exit(0);
}

void term_guard_start(struct term_guard *guard, const struct termios *modes, const char *text,
                      size_t text_bytes)
{
    int fds[2];
    *guard = (struct term_guard){.pid = 0, .fd = -1};
    if (pipe2(fds, O_CLOEXEC) != 0)
        return;
    pid_t pid = fork();
    if (pid == 0) {
        (void)close(fds[1]);
        stand_guard(fds[0], modes, text, text_bytes);
    }
    (void)close(fds[0]);
    if (pid > 0)
        *guard = (struct term_guard){.pid = pid, .fd = fds[1]};
    else
        (void)close(fds[1]);
}

void term_guard_dismiss(const struct term_guard *guard)
{
    const char word = DISMISSED;
    if (guard->pid > 0)
        (void)!write(guard->fd, &word, 1);
}

void term_guard_end(struct term_guard *guard)
{
    if (guard->pid <= 0)
        return;
    (void)close(guard->fd);
    while (waitpid(guard->pid, NULL, 0) < 0 && errno == EINTR)
        continue;
    *guard = (struct term_guard){.pid = 0, .fd = -1};
}
