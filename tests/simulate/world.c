#include "world.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CALL_NS        200
#define PIPE_BYTES_MAX 65536
#define FIRST_PID      4000
#define LEAK_BYTES_NS  2 /* a nanosecond: 2 GB/s */
#define URGENT_NS_MAX  (100 * NS_PER_MS)

struct world world;

int __real_close(int fd);
ssize_t __real_read(int fd, void *bytes, size_t bytes_count);
ssize_t __real_write(int fd, const void *bytes, size_t bytes_count);
int __real_clock_gettime(clockid_t clock, struct timespec *ret_time);

static void broken(const char *what)
{
    if (world.broken == NULL)
        world.broken = what;
}

/* --- time --- */

static void die(int wait_status)
{
    struct worker *worker = &world.worker;
    worker->is_dead = true;
    worker->wait_status = wait_status;
    worker->dies_at_ns = NEVER;
    worker->leaks_from_ns = NEVER;
    world.pipes[worker->in].has_reader = false;
    if (!worker->is_member)
        world.pipes[worker->out].has_writer = false;
}

static bool is_alive(void)
{
    return world.worker.is_there && !world.worker.is_dead;
}

static uint64_t next_event_ns(void)
{
    const struct worker *worker = &world.worker;
    if (!is_alive() || worker->is_stopped)
        return NEVER;
    uint64_t next = worker->dies_at_ns;
    if (worker->pending_count > 0 && worker->pending[0].at_ns < next)
        next = worker->pending[0].at_ns;
    return next;
}

static void do_event(void)
{
    struct worker *worker = &world.worker;
    if (worker->pending_count > 0 && worker->pending[0].at_ns <= worker->dies_at_ns) {
        struct pending *first = &worker->pending[0];
        struct pipe *out = &world.pipes[worker->out];
        if (first->bytes == NULL)
            out->has_writer = worker->is_member;
        else if (out->has_reader)
            buf_append(&out->bytes, first->bytes, first->bytes_count);
        free(first->bytes);
        memmove(first, first + 1, --worker->pending_count * sizeof(*first));
    } else {
        die(worker->dies_status);
    }
}

static void pass_to(uint64_t at_ns)
{
    while (next_event_ns() <= at_ns) {
        world.now_ns = next_event_ns() > world.now_ns ? next_event_ns() : world.now_ns;
        do_event();
    }
    world.now_ns = at_ns > world.now_ns ? at_ns : world.now_ns;
}

/* Every call takes time, and a signal may come before it. */
static void enter(void)
{
    if (++world.calls_count > world.calls_max) {
        broken("it hangs");
        (void)__real_write(STDERR_FILENO, "simulate: it hangs\n", 19);
        abort();
    }
    pass_to(world.now_ns + CALL_NS);
    if (world.signals_sent < world.signals_count &&
        world.calls_count >= world.signal_calls[world.signals_sent]) {
        world.signals_sent++;
        if (world.signals_sent <= 2)
            *(world.signals_sent == 1 ? &world.signal_at_ns : &world.urgent_at_ns) = world.now_ns;
        world.interrupt = world.interrupt + 1;
        world.is_awake = true;
    }
}

int __wrap_clock_gettime(clockid_t clock, struct timespec *ret_time)
{
    enter();
    uint64_t ns = world.now_ns + (clock == CLOCK_REALTIME ? 1700000000 * NS_PER_S : 0);
    *ret_time = (struct timespec){(time_t)(ns / NS_PER_S), (long)(ns % NS_PER_S)};
    return 0;
}

int __wrap_nanosleep(const struct timespec *pause, struct timespec *ret_left)
{
    (void)ret_left;
    enter();
    pass_to(world.now_ns + (uint64_t)pause->tv_sec * NS_PER_S + (uint64_t)pause->tv_nsec);
    return 0;
}

/* --- pipes --- */

static int number_fd(size_t number, bool is_writer)
{
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (fd < 0 || fd >= FDS_MAX)
        abort();
    world.pipe_of[fd] = (int)number + 1;
    world.is_writer[fd] = is_writer;
    return fd;
}

static struct pipe *pipe_of(int fd)
{
    return fd >= 0 && fd < FDS_MAX && world.pipe_of[fd] > 0 ? &world.pipes[world.pipe_of[fd] - 1]
                                                            : NULL;
}

int __wrap_pipe2(int fds[2], int flags)
{
    (void)flags;
    enter();
    /* of the worker before this one nothing is left */
    if (world.pipes_count == 2)
        world.pipes_count = 0;
    struct pipe *pipe = &world.pipes[world.pipes_count];
    buf_release(&pipe->bytes);
    buf_init(&pipe->bytes, 16 << 20);
    pipe->has_reader = pipe->has_writer = true;
    fds[0] = number_fd(world.pipes_count, false);
    fds[1] = number_fd(world.pipes_count, true);
    world.pipes_count++;
    return 0;
}

int __wrap_close(int fd)
{
    struct pipe *pipe = pipe_of(fd);
    struct worker *worker = &world.worker;
    enter();
    if (pipe != NULL) {
        size_t number = (size_t)world.pipe_of[fd] - 1;
        world.pipe_of[fd] = 0;
        /* the worker's own ends are closed by us, too: then they are its alone */
        bool is_workers = worker->is_there &&
                          (world.is_writer[fd] ? number == worker->out : number == worker->in);
        if (!is_workers && world.is_writer[fd])
            pipe->has_writer = false;
        else if (!is_workers)
            pipe->has_reader = false;
        if (is_alive() && !is_workers && number == worker->in)
            behaviour_end_of_input();
    }
    return __real_close(fd);
}

static void take_lines(void)
{
    struct buf *in = &world.pipes[world.worker.in].bytes;
    char *end;
    while (in->length_bytes > 0 && (end = memchr(in->data, '\n', in->length_bytes)) != NULL) {
        size_t bytes = (size_t)(end - in->data);
        behaviour_line(in->data, bytes);
        buf_consume(in, bytes + 1);
    }
}

static ssize_t fail(int error)
{
    errno = error;
    return -1;
}

/* True once. */
static bool is_refused(bool *refuses)
{
    bool was_set = *refuses;
    *refuses = false;
    return was_set;
}

/* A file of ours: the disk may be full. */
static ssize_t write_file(int fd, const void *bytes, size_t bytes_count)
{
    struct stat info;
    if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode))
        return __real_write(fd, bytes, bytes_count);
    uint64_t number = world.writes_count++;
    if (number < world.disk_full_from || number - world.disk_full_from >= world.disk_full_writes)
        return __real_write(fd, bytes, bytes_count);
    world.disk_errors_count++;
    if (number % 3 == 0 || bytes_count < 2)
        return fail(ENOSPC);
    return __real_write(fd, bytes, bytes_count / 2);
}

ssize_t __wrap_write(int fd, const void *bytes, size_t bytes_count)
{
    struct pipe *pipe = pipe_of(fd);
    enter();
    if (pipe == NULL)
        return write_file(fd, bytes, bytes_count);
    if (is_refused(&world.worker.refuses_write))
        return fail(EIO);
    if (!is_alive() || !pipe->has_reader)
        return fail(EPIPE);
    if (world.worker.reads_nothing || pipe->bytes.length_bytes + bytes_count > PIPE_BYTES_MAX)
        return fail(EAGAIN);
    buf_append(&pipe->bytes, bytes, bytes_count);
    if (!world.worker.is_stopped)
        take_lines();
    return (ssize_t)bytes_count;
}

ssize_t __wrap_read(int fd, void *bytes, size_t bytes_count)
{
    struct pipe *pipe = pipe_of(fd);
    enter();
    if (fd == world.wake_fd) {
        world.is_awake = false;
        return 1;
    }
    if (pipe == NULL)
        return __real_read(fd, bytes, bytes_count);
    if (is_refused(&world.worker.refuses_read))
        return fail(EIO);
    if (pipe->bytes.length_bytes == 0)
        return pipe->has_writer ? fail(EAGAIN) : 0;
    size_t count = pipe->bytes.length_bytes < bytes_count ? pipe->bytes.length_bytes : bytes_count;
    memcpy(bytes, pipe->bytes.data, count);
    buf_consume(&pipe->bytes, count);
    return (ssize_t)count;
}

/* What _FORTIFY_SOURCE makes of it. */
ssize_t __wrap___read_chk(int fd, void *bytes, size_t bytes_count, size_t room_bytes)
{
    if (bytes_count > room_bytes)
        abort();
    return __wrap_read(fd, bytes, bytes_count);
}

int __wrap_ioctl(int fd, unsigned long request, ...)
{
    va_list args;
    va_start(args, request);
    int *ret_count = va_arg(args, int *);
    va_end(args);
    enter();
    if (request != FIONREAD || pipe_of(fd) == NULL)
        return (int)fail(ENOTTY);
    *ret_count = (int)pipe_of(fd)->bytes.length_bytes;
    return 0;
}

static short ready(const struct pollfd *polled)
{
    const struct pipe *pipe = pipe_of(polled->fd);
    if (polled->fd == world.wake_fd)
        return world.is_awake ? POLLIN : 0;
    if (pipe == NULL)
        return 0;
    if (world.is_writer[polled->fd])
        return !is_alive() ? POLLERR : world.worker.reads_nothing ? 0 : POLLOUT;
    if (pipe->bytes.length_bytes > 0)
        return POLLIN;
    return pipe->has_writer ? 0 : POLLHUP;
}

int __wrap_poll(struct pollfd *polled, nfds_t count, int timeout_ms)
{
    bool was_awake = world.is_awake;
    enter();
    if (pipe_of(polled[0].fd) != NULL && is_refused(&world.worker.refuses_wait))
        return (int)fail(ENOMEM);
    unsigned wait_ms = timeout_ms < 0 ? 0U : (unsigned)timeout_ms;
    uint64_t end_ns = timeout_ms < 0 ? NEVER : world.now_ns + wait_ms * NS_PER_MS;
    for (;;) {
        int found = 0;
        for (nfds_t i = 0; i < count; i++) {
            polled[i].revents = polled[i].fd >= 0 ? ready(&polled[i]) : 0;
            found += polled[i].revents != 0;
        }
        if (found > 0)
            return found;
        if (world.is_awake && !was_awake)
            return (int)fail(EINTR);
        if (world.now_ns >= end_ns)
            return 0;
        uint64_t next_ns = next_event_ns() < end_ns ? next_event_ns() : end_ns;
        if (next_ns == NEVER) {
            broken("it waits for ever");
            abort();
        }
        pass_to(next_ns);
    }
}

int __wrap___poll_chk(struct pollfd *polled, nfds_t count, int timeout_ms, size_t room_bytes)
{
    (void)room_bytes;
    return __wrap_poll(polled, count, timeout_ms);
}

/* --- processes --- */

int __wrap_posix_spawnp(pid_t *ret_pid, const char *file, const posix_spawn_file_actions_t *actions,
                        const posix_spawnattr_t *attributes, char *const argv[],
                        char *const environment[])
{
    (void)file;
    (void)actions;
    (void)attributes;
    (void)argv;
    (void)environment;
    enter();
    if (world.worker.is_there)
        broken("a worker is started beside another");
    if (world.spawn_errors > 0 && world.spawn_errors-- > 0)
        return EAGAIN;
    pid_t pid = world.worker.pid < FIRST_PID ? FIRST_PID : world.worker.pid + 1;
    world.worker = (struct worker){.is_there = true,
                                   .pid = pid,
                                   .in = world.pipes_count - 2,
                                   .out = world.pipes_count - 1,
                                   .dies_at_ns = NEVER,
                                   .term_at_ns = NEVER,
                                   .rss_bytes = 100 << 20,
                                   .leaks_from_ns = NEVER};
    *ret_pid = pid;
    behaviour_start();
    return 0;
}

static void take_term(void)
{
    struct worker *worker = &world.worker;
    if (worker->term_at_ns == NEVER)
        worker->term_at_ns = world.now_ns;
    if (worker->is_dead || worker->is_deaf || worker->is_stopped)
        return;
    uint64_t at_ns = world.now_ns + NS_PER_MS;
    if (at_ns < worker->dies_at_ns) {
        worker->dies_at_ns = at_ns;
        worker->dies_status = SIGTERM;
    }
}

static void take_kill(bool is_group)
{
    struct worker *worker = &world.worker;
    bool is_urgent = world.interrupt > 1;
    uint64_t asked_ns =
        worker->term_at_ns > world.urgent_at_ns ? worker->term_at_ns : world.urgent_at_ns;
    /* who listens to SIGTERM has the time of the grace for it */
    if (!worker->is_dead && !is_urgent &&
        (worker->term_at_ns == NEVER || world.now_ns < worker->term_at_ns + world.kill_grace_ns))
        broken("SIGKILL came before the grace was over");
    if (!worker->is_dead && asked_ns != NEVER && world.now_ns > asked_ns + URGENT_NS_MAX)
        broken("there is a grace after a second signal");
    if (!worker->is_dead && !worker->is_deaf && worker->is_stopped && !is_urgent)
        broken("a stopped worker was not woken for its SIGTERM");
    if (worker->is_dead && worker->is_member && worker->term_at_ns != NEVER &&
        !worker->member_got_term && is_group)
        broken("SIGTERM did not go to the whole group");
    if (!worker->is_dead)
        die(SIGKILL);
    if (is_group) {
        worker->is_member = false;
        world.pipes[worker->out].has_writer = false;
    }
}

int __wrap_kill(pid_t pid, int signal_number)
{
    struct worker *worker = &world.worker;
    enter();
    bool is_group = pid < 0;
    if (!worker->is_there || (is_group ? -pid : pid) != worker->pid)
        return (int)fail(ESRCH);
    if (signal_number == SIGTERM) {
        worker->member_got_term |= is_group;
        take_term();
    } else if (signal_number == SIGCONT) {
        worker->is_stopped = false;
        if (worker->term_at_ns != NEVER)
            take_term();
    } else if (signal_number == SIGKILL) {
        take_kill(is_group);
    }
    return 0;
}

int __wrap_waitid(idtype_t type, id_t id, siginfo_t *ret_info, int options)
{
    enter();
    if (type != P_PID || (options & WNOHANG) == 0)
        abort();
    if (!world.worker.is_there || (pid_t)id != world.worker.pid)
        return (int)fail(ECHILD);
    if (world.worker.is_dead)
        ret_info->si_pid = world.worker.pid;
    return 0;
}

pid_t __wrap_wait4(pid_t pid, int *ret_status, int options, struct rusage *ret_usage)
{
    struct worker *worker = &world.worker;
    enter();
    if (!worker->is_there || pid != worker->pid)
        return (pid_t)fail(ECHILD);
    if (!worker->is_dead || options != 0) {
        broken("it waits for one that lives");
        abort();
    }
    if (worker->is_member)
        broken("a process of the worker's group outlives it");
    *ret_status = worker->wait_status;
    *ret_usage = (struct rusage){0};
    worker->is_there = false;
    for (size_t i = 0; i < worker->pending_count; i++)
        free(worker->pending[i].bytes);
    worker->pending_count = 0;
    world.pipes[worker->out].has_writer = false;
    return pid;
}

pid_t __wrap_waitpid(pid_t pid, int *ret_status, int options)
{
    (void)pid;
    (void)ret_status;
    (void)options;
    enter();
    return (pid_t)fail(ECHILD);
}

/* --- memory --- */

bool __wrap_sysmem_process_rss(pid_t pid, uint64_t *ret_rss_bytes, uint64_t *ret_peak_bytes)
{
    const struct worker *worker = &world.worker;
    enter();
    if (!is_alive() || pid != worker->pid)
        return false;
    uint64_t grown =
        worker->leaks_from_ns < world.now_ns ? world.now_ns - worker->leaks_from_ns : 0;
    *ret_rss_bytes = *ret_peak_bytes = worker->rss_bytes + grown * LEAK_BYTES_NS;
    return true;
}

uint64_t __wrap_sysmem_available_bytes(void)
{
    return 16ULL << 30;
}

bool __wrap_sysmem_oom_kills(uint64_t *ret_count)
{
    *ret_count = world.oom_kills;
    return true;
}

/* --- the disk --- */

int __wrap_fdatasync(int fd)
{
    (void)fd;
    enter();
    world.syncs_count++;
    return 0;
}

int __wrap_fsync(int fd)
{
    return __wrap_fdatasync(fd);
}

/* --- for the worker, and for the schedule --- */

static void add_pending(uint64_t at_ns, char *bytes, size_t bytes_count)
{
    struct worker *worker = &world.worker;
    if (worker->pending_count == PENDING_MAX)
        abort();
    worker->pending[worker->pending_count++] = (struct pending){at_ns, bytes, bytes_count};
}

void world_write(uint64_t at_ns, const void *bytes, size_t bytes_count)
{
    char *copy = malloc(bytes_count + 1);
    if (copy == NULL)
        abort();
    memcpy(copy, bytes, bytes_count);
    add_pending(at_ns, copy, bytes_count);
}

void world_close_out(uint64_t at_ns)
{
    add_pending(at_ns, NULL, 0);
}

void world_begin(void)
{
    for (size_t i = 0; i < 4; i++)
        buf_release(&world.pipes[i].bytes);
    world = (struct world){.now_ns = NS_PER_S,
                           .calls_max = 2000000,
                           .signal_at_ns = NEVER,
                           .urgent_at_ns = NEVER,
                           .disk_full_from = NEVER,
                           .kill_grace_ns = 2 * NS_PER_S};
    world.wake_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
}

void world_end(void)
{
    (void)__real_close(world.wake_fd);
    if (world.worker.is_there)
        broken("a worker was not collected");
    for (int fd = 0; fd < FDS_MAX; fd++)
        if (world.pipe_of[fd] > 0)
            broken("an end of a pipe is open");
}
