#include "engines/python/python.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/words.h"
#include "engines/python/interpreter.h"
#include "engines/python/package.h"

#define ARGUMENTS_MAX WORDS_MAX

/* A file in memory that the interpreter inherits. */
static int open_package(struct err *err)
{
    int fd = memfd_create("tokmark_worker", 0);
    if (fd < 0 || file_write_fd(fd, python_package, python_package_bytes, err) != STATUS_OK) {
        (void)ERR(err, STATUS_IO, "cannot hand the worker to Python: %s", strerror(errno));
        if (fd >= 0)
            (void)close(fd);
        return -1;
    }
    return fd;
}

enum status python_become(const char *path, const char *const *arguments, struct err *err)
{
    int fd = open_package(err);
    if (fd < 0)
        return STATUS_IO;
    char package[64];
    (void)snprintf(package, sizeof(package), "/proc/self/fd/%d", fd);
    char *argv[ARGUMENTS_MAX + 3] = {(char *)path, package};
    for (size_t i = 0; arguments[i] != NULL; i++) {
        ASSERT(i < ARGUMENTS_MAX);
        argv[2 + i] = (char *)arguments[i];
    }
    (void)execv(path, argv);
    enum status status = ERR(err, STATUS_IO, "cannot run '%.200s': %s", path, strerror(errno));
    (void)close(fd);
    return status;
}

static enum status become(const char *engine, const struct engine_start *start, struct err *err)
{
    struct interpreter interpreter;
    enum status status = interpreter_choose(engine, start->python, &interpreter, err);
    if (status != STATUS_OK)
        return status;
    const char *const probe[] = {"probe", engine, interpreter.origin, NULL};
    const char *const work[] = {engine, NULL};
    return python_become(interpreter.path, start->is_probe ? probe : work, err);
}

static enum status become_pytorch(const struct engine_start *start, struct err *err)
{
    return become("pytorch", start, err);
}

static enum status become_jax(const struct engine_start *start, struct err *err)
{
    return become("jax", start, err);
}

const struct engine_ops jax_engine = {
    .name = "jax",
    .summary = "JAX models, your own or ours, in your own Python",
    .version = "",
    .become = become_jax,
};

const struct engine_ops pytorch_engine = {
    .name = "pytorch",
    .summary = "PyTorch models, your own or ours, in your own Python",
    .version = "",
    .become = become_pytorch,
};
