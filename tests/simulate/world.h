/* A made-up machine for the supervisor: its clock, pipes, processes and signals. The linker puts
 * the functions of world.c in the place of the system calls that src/ makes (tests/CMakeLists.txt),
 * so that src/ is the program's own, line by line, and nothing ever sleeps. One worker at a time.
 */
#ifndef SIMULATE_WORLD_H
#define SIMULATE_WORLD_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/clock.h"

#define NEVER       UINT64_MAX
#define FDS_MAX     256
#define PENDING_MAX 16
#define SIGNALS_MAX 3

struct pipe {
    bool has_reader, has_writer; /* a descriptor of ours or of the worker's */
    struct buf bytes;
};

/* What a worker writes later. */
struct pending {
    uint64_t at_ns;
    char *bytes; /* owned; NULL: it closes its output */
    size_t bytes_count;
};

struct worker {
    bool is_there;  /* started, not collected */
    bool is_dead;   /* its leader */
    bool is_member; /* another process of its group lives, with the output open */
    pid_t pid;
    int wait_status;
    size_t in, out; /* pipes, by number */
    struct pending pending[PENDING_MAX];
    size_t pending_count;
    uint64_t dies_at_ns;
    int dies_status;
    bool is_deaf;    /* to SIGTERM */
    bool is_stopped; /* until SIGCONT */
    bool reads_nothing;
    bool refuses_write, refuses_read, refuses_wait; /* the next such call on its pipes fails */
    uint64_t term_at_ns;                            /* SIGTERM came; NEVER: none */
    bool member_got_term;
    uint64_t rss_bytes;
    uint64_t leaks_from_ns; /* grows from then on; NEVER: it does not */
};

struct world {
    uint64_t now_ns;
    uint64_t calls_count, calls_max; /* more than so many: it hangs */
    struct pipe pipes[4];
    size_t pipes_count;
    int pipe_of[FDS_MAX]; /* of a descriptor: its number + 1; 0: not one of ours */
    bool is_writer[FDS_MAX];
    struct worker worker;
    int spawn_errors; /* so many starts fail */
    /* signals to the harness, each before a call of that number */
    uint64_t signal_calls[SIGNALS_MAX];
    size_t signals_count, signals_sent;
    uint64_t signal_at_ns; /* the first; NEVER */
    uint64_t urgent_at_ns; /* the second */
    volatile sig_atomic_t interrupt;
    int wake_fd;
    bool is_awake;
    uint64_t oom_kills;
    /* the disk: from that write on, so many fail */
    uint64_t writes_count, disk_full_from, disk_full_writes;
    uint64_t disk_errors_count;
    uint64_t syncs_count;
    uint64_t kill_grace_ns;
    const char *broken; /* what may never happen, and has */
};

extern struct world world;

void world_begin(void);
/* What is left over is in `world.broken`. */
void world_end(void);
/* Of the worker, behind what it has written. */
void world_write(uint64_t at_ns, const void *bytes, size_t bytes_count);
void world_close_out(uint64_t at_ns);
/* behaviour.c: a process was started; a whole line has come; its input has ended. */
void behaviour_start(void);
void behaviour_line(const char *line, size_t line_bytes);
void behaviour_end_of_input(void);

#endif
