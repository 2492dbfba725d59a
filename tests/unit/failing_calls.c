#include "failing_calls.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define CALLS_MAX 20000U

static struct {
    bool is_on;
    enum failing_kind kind;
    unsigned count, fails_at;
} calls;

static bool fails(enum failing_kind kind)
{
    return calls.is_on && kind == calls.kind && ++calls.count == calls.fails_at;
}

/* The linker puts __wrap_NAME in the place of NAME (tests/CMakeLists.txt). */
#define WRAP(kind, type, name, error, failed, parameters, arguments) \
    type __real_##name parameters;                                   \
    type __wrap_##name parameters;                                   \
    type __wrap_##name parameters                                    \
    {                                                                \
        if (fails(kind)) {                                           \
            errno = error;                                           \
            return failed;                                           \
        }                                                            \
        return __real_##name arguments;                              \
    }

WRAP(FAILING_MEMORY, void *, malloc, ENOMEM, NULL, (size_t bytes), (bytes))
WRAP(FAILING_MEMORY, void *, calloc, ENOMEM, NULL, (size_t count, size_t bytes), (count, bytes))
WRAP(FAILING_MEMORY, void *, realloc, ENOMEM, NULL, (void *old, size_t bytes), (old, bytes))
WRAP(FAILING_MEMORY, char *, strdup, ENOMEM, NULL, (const char *text), (text))
WRAP(FAILING_SYSTEM, ssize_t, read, EIO, -1, (int fd, void *bytes, size_t count),
     (fd, bytes, count))
WRAP(FAILING_SYSTEM, ssize_t, pread, EIO, -1, (int fd, void *bytes, size_t count, off_t at),
     (fd, bytes, count, at))
WRAP(FAILING_SYSTEM, ssize_t, write, ENOSPC, -1, (int fd, const void *bytes, size_t count),
     (fd, bytes, count))
WRAP(FAILING_SYSTEM, int, fstat, EIO, -1, (int fd, struct stat *info), (fd, info))
WRAP(FAILING_SYSTEM, int, stat, EIO, -1, (const char *path, struct stat *info), (path, info))
WRAP(FAILING_SYSTEM, int, mkdir, ENOSPC, -1, (const char *path, mode_t mode), (path, mode))
WRAP(FAILING_SYSTEM, int, rename, ENOSPC, -1, (const char *from, const char *to), (from, to))
WRAP(FAILING_SYSTEM, int, ftruncate, EIO, -1, (int fd, off_t bytes), (fd, bytes))
WRAP(FAILING_SYSTEM, off_t, lseek, EIO, -1, (int fd, off_t at, int from), (fd, at, from))
WRAP(FAILING_SYSTEM, int, flock, ENOLCK, -1, (int fd, int operation), (fd, operation))

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...)
{
    va_list rest;
    va_start(rest, flags);
    unsigned mode = va_arg(rest, unsigned);
    va_end(rest);
    if (fails(FAILING_SYSTEM)) {
        errno = EMFILE;
        return -1;
    }
    return __real_open(path, flags, mode);
}

unsigned failing_calls(enum failing_kind kind, const struct failing_work *work)
{
    /* jansson's allocations end the program (base/json_memory.h). */
    json_set_alloc_funcs(__real_malloc, free);
    /* Each of the first, later fewer: what is done often is done in the same places. */
    for (unsigned at = 1; at < CALLS_MAX; at += 1 + at / 32) {
        struct err err = {0};
        if (work->prepare != NULL)
            work->prepare(work->context);
        calls.kind = kind;
        calls.count = 0;
        calls.fails_at = at;
        calls.is_on = true;
        enum status status = work->work(work->context, &err);
        calls.is_on = false;
        cr_expect(status == STATUS_OK || err.text[0] != '\0', "call %u: no text", at);
        cr_expect(kind != FAILING_MEMORY || status == STATUS_OK || status == STATUS_NOMEM,
                  "allocation %u: %s: %s", at, status_text(status), err.text);
        if (work->check != NULL)
            work->check(work->context, status);
        if (calls.count < at) {
            cr_expect_eq(status, STATUS_OK, "nothing failed: %s", err.text);
            return calls.count;
        }
    }
    cr_assert_fail("it makes more than %u calls", CALLS_MAX);
    return 0;
}
