/* base/spawn.h - one child process over two pipes, its standard error in a file, and its end.
 *
 * The child leads a process group of its own, so that a terminal's ^C does not reach it and so that
 * whatever it starts can be ended with it. It gets descriptors 0, 1 and 2 and no others, no blocked
 * signals and default handlers. Its end is watched without being collected (WNOWAIT) until the
 * rest of its group is dead, so its id cannot have gone to another process by then.
 */
#ifndef BASE_SPAWN_H
#define BASE_SPAWN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "base/status.h"

#define SPAWN_EXIT_TEXT_BYTES 64
#define SPAWN_PASSED_FDS      3

struct spawn {
    pid_t pid;  /* also its process group; 0 = nothing was started */
    int in_fd;  /* owned: what is written here is its standard input; -1 = closed */
    int out_fd; /* owned: its standard output is read here; -1 = closed */
    bool is_reaped;
    int wait_status;     /* as wait(2) gives it; when is_reaped */
    struct rusage usage; /* of it and of those it waited for; when is_reaped */
};

/* argv[0] is looked up in PATH. STATUS_NOT_FOUND or STATUS_IO with the system's reason when it
 * cannot be started. */
MUST_CHECK enum status spawn_start(char *const argv[], int log_fd, struct spawn *ret_spawn,
                                   struct err *err);
/* The same in another working folder, where a relative argv[0] is then looked up; NULL = ours. */
MUST_CHECK enum status spawn_start_in(const char *folder, char *const argv[], int log_fd,
                                      struct spawn *ret_spawn, struct err *err);

/* A process that makes others for us: its standard input is a socket (SOCK_SEQPACKET). */
MUST_CHECK enum status spawn_start_server(const char *folder, char *const argv[], int log_fd,
                                          struct spawn *ret_spawn, struct err *err);
/* Asks it for one: a message of the byte `kind` that carries what shall be the new process's
 * standard input, output and error. *ret_spawn has both pipes and no process yet; spawn_adopt() or
 * spawn_drop() is next. STATUS_CRASHED when the server is gone. */
MUST_CHECK enum status spawn_ask(const struct spawn *server, char kind, int log_fd,
                                 struct spawn *ret_spawn, struct err *err);
/* The process that was made, once its maker says its id. It must be our child by then (as an
 * orphan comes to who is its nearest "child subreaper", prctl(2)) and lead a group of its own;
 * false, with nothing changed, when it is not our child. */
MUST_CHECK bool spawn_adopt(struct spawn *spawn, int64_t pid);
/* Closes both pipes. */
void spawn_drop(struct spawn *spawn);

/* Writes all bytes, never raising SIGPIPE. STATUS_TIMEOUT when the child does not read until then;
 * STATUS_CRASHED when it has closed its end. */
MUST_CHECK enum status spawn_write(const struct spawn *spawn, const void *bytes, size_t bytes_count,
                                   uint64_t deadline_ns, struct err *err);
/* The child then reads the end of its input. */
void spawn_close_in(struct spawn *spawn);

/* Dead, collected or not? Does not wait. */
bool spawn_has_exited(const struct spawn *spawn);
/* Waits for the child's own end until `deadline_ns`; then kills what is left of its group and
 * collects it. False when it is still alive. */
bool spawn_wait(struct spawn *spawn, uint64_t deadline_ns);
/* SIGTERM to the group, which is woken for it. No-op when collected. */
void spawn_terminate(const struct spawn *spawn);
/* SIGKILL to the group; collects the child. False only for one that not even that ends (stuck in
 * the kernel). No-op when collected. */
bool spawn_kill(struct spawn *spawn);
/* Closes both pipes; ends the child at once if it still lives. No-op on a zeroed object. */
void spawn_release(struct spawn *spawn);

/* "exit 0", "signal 9 (KILL)". */
void spawn_exit_text(int wait_status, char text[SPAWN_EXIT_TEXT_BYTES]);

#endif
