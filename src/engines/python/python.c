#include "engines/python/python.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/words.h"
#include "engines/python/interpreter.h"
#include "engines/python/package.h"
#include "engines/python/predict.h"

#define ARGUMENTS_MAX      WORDS_MAX
#define FIRST_PRIVATE_FD   3
#define STREAMS_TEXT_BYTES 32

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

/* Standard input and output go on over private descriptors, named to the package; 0 reads nothing
 * and 1 is the log. Done here and not in the package, because what runs before it in an interpreter
 * (sitecustomize, .pth files, a wrapper script's banner) may print. */
static enum status move_streams(char text[STREAMS_TEXT_BYTES], struct err *err)
{
    int in_fd = fcntl(STDIN_FILENO, F_DUPFD, FIRST_PRIVATE_FD);
    int out_fd = fcntl(STDOUT_FILENO, F_DUPFD, FIRST_PRIVATE_FD);
    int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (in_fd < 0 || out_fd < 0 || null_fd < 0)
        return ERR(err, STATUS_IO, "a worker needs its standard input and output: %s",
                   strerror(errno));
    if (fcntl(STDERR_FILENO, F_GETFD) < 0)
        (void)dup2(null_fd, STDERR_FILENO);
    if (dup2(null_fd, STDIN_FILENO) < 0 || dup2(STDERR_FILENO, STDOUT_FILENO) < 0)
        return ERR(err, STATUS_IO, "cannot move the standard descriptors: %s", strerror(errno));
    if (null_fd > STDERR_FILENO)
        (void)close(null_fd);
    (void)snprintf(text, STREAMS_TEXT_BYTES, "%d,%d", in_fd, out_fd);
    return STATUS_OK;
}

enum status python_become(const char *path, const char *const *arguments, struct err *err)
{
    int fd = open_package(err);
    if (fd < 0)
        return STATUS_IO;
    char package[64];
    (void)snprintf(package, sizeof(package), "/proc/self/fd/%d", fd);
    char streams[STREAMS_TEXT_BYTES];
    char *argv[ARGUMENTS_MAX + 4] = {(char *)path, package, streams};
    for (size_t i = 0; arguments[i] != NULL; i++) {
        ASSERT(i < ARGUMENTS_MAX);
        argv[3 + i] = (char *)arguments[i];
    }
    enum status status = move_streams(streams, err);
    /* Its standard streams are a log, in UTF-8 whatever the locale; nothing that a model prints may
     * end it. */
    if (status == STATUS_OK && setenv("PYTHONIOENCODING", "utf-8:backslashreplace", 1) != 0)
        status = ERR(err, STATUS_NOMEM, "no memory for the environment");
    if (status == STATUS_OK) {
        (void)execv(path, argv);
        status = ERR(err, STATUS_IO, "cannot run '%.200s': %s", path, strerror(errno));
    }
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
    const char *const peak[] = {"peak", engine, start->peak, NULL};
    const char *const serve[] = {"serve", engine, NULL};
    const char *const work[] = {engine, NULL};
    const char *const *arguments = start->is_server ? serve : work;
    if (start->peak != NULL)
        arguments = peak;
    return python_become(interpreter.path, start->is_probe ? probe : arguments, err);
}

static enum status become_pytorch(const struct engine_start *start, struct err *err)
{
    return become("pytorch", start, err);
}

static enum status become_jax(const struct engine_start *start, struct err *err)
{
    return become("jax", start, err);
}

static enum status torch_memory(const struct cell *cell, struct engine_prediction *ret,
                                struct err *err)
{
    (void)err;
    *ret = (struct engine_prediction){.memory = predict_torch(cell)};
    return STATUS_OK;
}

static enum status jax_memory(const struct cell *cell, struct engine_prediction *ret,
                              struct err *err)
{
    (void)err;
    *ret = (struct engine_prediction){.memory = predict_jax(cell)};
    return STATUS_OK;
}

const struct engine_ops jax_engine = {
    .name = "jax",
    .summary = "JAX models, your own or ours, in your own Python",
    .version = "",
    .become = become_jax,
    .predict = jax_memory,
};

const struct engine_ops pytorch_engine = {
    .name = "pytorch",
    .summary = "PyTorch models, your own or ours, in your own Python",
    .version = "",
    .become = become_pytorch,
    .predict = torch_memory,
};
