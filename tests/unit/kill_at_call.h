/* A child that is killed at a chosen entry to, or return from, the kernel. */
#ifndef UNIT_KILL_AT_CALL_H
#define UNIT_KILL_AT_CALL_H

#include <criterion/criterion.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

/* Runs `work` in a child, which ends with _exit(0) when it is through, up to its `stops_max`-th
 * entry to or return from the kernel, and kills it there. True when it came to its end before. */
static inline bool kill_at_call(unsigned stops_max, void (*work)(void *context), void *context)
{
    pid_t pid = fork();
    cr_assert(pid >= 0);
    if (pid == 0) {
        if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
            _exit(9);
        (void)raise(SIGSTOP);
        work(context);
        _exit(0);
    }
    int status = 0;
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 9)
        cr_skip_test("tracing is not allowed here");
    for (unsigned i = 0; i < stops_max; i++) {
        cr_assert_eq(ptrace(PTRACE_SYSCALL, pid, NULL, NULL), 0);
        cr_assert_eq(waitpid(pid, &status, 0), pid);
        if (!WIFSTOPPED(status)) {
            cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
            return true;
        }
    }
    cr_assert_eq(kill(pid, SIGKILL), 0);
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    return false;
}

#endif
