/* LD_PRELOAD this: the FAIL_AT-th allocation or system call of the process fails, once; children
 * are spared. FAIL_KIND: "memory" or "system". With FAIL_AT=0 none fails, and FAIL_LIST=FILE gets
 * the numbers of those that are the first of their place: where the functions that called are
 * others. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

extern void *__libc_malloc(size_t bytes);
extern void *__libc_calloc(size_t count, size_t bytes);
extern void *__libc_realloc(void *old, size_t bytes);

#define FRAMES      7
#define PLACES_SIZE 65536

static unsigned long fail_at, calls_count;
static int is_memory, is_on, list_fd = -1;
static __thread int is_inside
    __attribute__((tls_model("initial-exec"))); /* backtrace() allocates */
static unsigned long places[PLACES_SIZE], firsts[PLACES_SIZE], firsts_count;

/* Is this place new? */
static int is_first(void)
{
    void *frames[FRAMES];
    unsigned long hash = 5381;
    int count = backtrace(frames, FRAMES);
    for (int i = 2; i < count; i++)
        hash = (hash ^ (unsigned long)frames[i]) * 0x100000001B3UL;
    unsigned long at = hash % PLACES_SIZE;
    for (; places[at] != 0; at = (at + 1) % PLACES_SIZE)
        if (places[at] == hash)
            return 0;
    places[at] = hash;
    return 1;
}

static void note_place(unsigned long number)
{
    is_inside = 1;
    if (is_first() && firsts_count < PLACES_SIZE)
        firsts[firsts_count++] = number;
    is_inside = 0;
}

__attribute__((destructor)) static void end(void)
{
    is_on = 0;
    for (unsigned long i = 0; list_fd >= 0 && i < firsts_count; i++)
        (void)dprintf(list_fd, "%lu\n", firsts[i]);
}

/* Is this the one? */
static int fails(int kind_is_memory)
{
    if (!is_on || is_inside || kind_is_memory != is_memory)
        return 0;
    unsigned long number = __atomic_add_fetch(&calls_count, 1, __ATOMIC_RELAXED);
    if (list_fd >= 0)
        note_place(number);
    return number == fail_at;
}

__attribute__((constructor)) static void begin(void)
{
    const char *at = getenv("FAIL_AT");
    const char *kind = getenv("FAIL_KIND");
    const char *list = getenv("FAIL_LIST");
    if (at == NULL || kind == NULL)
        return;
    fail_at = strtoul(at, NULL, 10);
    is_memory = strcmp(kind, "memory") == 0;
    if (list != NULL)
        list_fd = open(list, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    void *frames[FRAMES];
    (void)backtrace(frames, FRAMES); /* loads what it needs */
    unsetenv("FAIL_AT");
    unsetenv("LD_PRELOAD");
    is_on = 1;
}

/* --- memory --- */

void *malloc(size_t bytes)
{
    if (fails(1)) {
        errno = ENOMEM;
        return NULL;
    }
    return __libc_malloc(bytes);
}

void *calloc(size_t count, size_t bytes)
{
    if (fails(1)) {
        errno = ENOMEM;
        return NULL;
    }
    return __libc_calloc(count, bytes);
}

void *realloc(void *old, size_t bytes)
{
    if (fails(1)) {
        errno = ENOMEM;
        return NULL;
    }
    return __libc_realloc(old, bytes);
}

void *reallocarray(void *old, size_t count, size_t bytes)
{
    size_t all = 0;
    if (fails(1) || __builtin_mul_overflow(count, bytes, &all)) {
        errno = ENOMEM;
        return NULL;
    }
    return __libc_realloc(old, all);
}

/* --- system calls --- */

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

/* What fails with -1 and errno. */
#define CALL(type, name, error, parameters, arguments) \
    type name parameters                               \
    {                                                  \
        if (fails(0)) {                                \
            errno = error;                             \
            return (type)-1;                           \
        }                                              \
        return REAL(name) arguments;                   \
    }

CALL(ssize_t, read, EIO, (int fd, void *bytes, size_t count), (fd, bytes, count))
CALL(ssize_t, pread, EIO, (int fd, void *bytes, size_t count, off_t at), (fd, bytes, count, at))
CALL(ssize_t, write, ENOSPC, (int fd, const void *bytes, size_t count), (fd, bytes, count))
CALL(int, fsync, EIO, (int fd), (fd))
CALL(int, fdatasync, EIO, (int fd), (fd))
CALL(int, rename, ENOSPC, (const char *from, const char *to), (from, to))
CALL(int, mkdir, ENOSPC, (const char *path, mode_t mode), (path, mode))
CALL(int, ftruncate, EIO, (int fd, off_t bytes), (fd, bytes))
CALL(int, fstat, EIO, (int fd, struct stat *info), (fd, info))
CALL(int, stat, EIO, (const char *path, struct stat *info), (path, info))
CALL(int, flock, ENOLCK, (int fd, int operation), (fd, operation))
CALL(int, pipe2, EMFILE, (int fds[2], int flags), (fds, flags))
CALL(int, poll, ENOMEM, (struct pollfd * fds, nfds_t count, int timeout_ms),
     (fds, count, timeout_ms))
CALL(off_t, lseek, EINVAL, (int fd, off_t at, int from), (fd, at, from))
CALL(void *, mmap, ENOMEM, (void *at, size_t bytes, int use, int flags, int fd, off_t from),
     (at, bytes, use, flags, fd, from))

int posix_spawnp(pid_t *pid, const char *file, const posix_spawn_file_actions_t *actions,
                 const posix_spawnattr_t *attributes, char *const argv[], char *const envp[])
{
    return fails(0) ? EAGAIN : REAL(posix_spawnp)(pid, file, actions, attributes, argv, envp);
}

int open(const char *path, int flags, ...)
{
    va_list rest;
    va_start(rest, flags);
    mode_t mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    if (fails(0)) {
        errno = EMFILE;
        return -1;
    }
    return REAL(open)(path, flags, mode);
}

int fcntl(int fd, int command, ...)
{
    va_list rest;
    va_start(rest, command);
    long argument = va_arg(rest, long);
    va_end(rest);
    if (fails(0)) {
        errno = EMFILE;
        return -1;
    }
    return REAL(fcntl)(fd, command, argument);
}
