#include "result/input.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "result/archive_entry.h"
#include "result/names.h"

#define START_BYTES_MAX 4096

struct input {
    char name[FILE_PATH_BYTES];
    int fd;        /* -1: the file is not there yet, or `entry` is read */
    bool is_owned; /* the fd */
    bool has_path; /* `name` is where the file is found again */
    struct input_kind kind;
    bool is_seekable;
    bool is_ended;
    struct archive_entry *entry; /* owned; NULL = none */
};

/* Reads what is there, or up to `bytes_max`; -1 with errno. */
static ssize_t read_at(int fd, uint64_t offset, void *bytes, size_t bytes_max)
{
    ssize_t got;
    do {
        got = pread(fd, bytes, bytes_max, (off_t)offset);
    } while (got < 0 && errno == EINTR);
    return got;
}

static bool is_archive(int fd)
{
    char mark[4];
    return read_at(fd, 0, mark, sizeof(mark)) == sizeof(mark) && memcmp(mark, "PK\3\4", 4) == 0;
}

static enum status keep_name(struct input *input, const char *name, struct err *err)
{
    size_t name_bytes = strlen(name) + 1;
    if (name_bytes > sizeof(input->name))
        return ERR(err, STATUS_LIMIT, "path too long: %.80s...", name);
    memcpy(input->name, name, name_bytes);
    return STATUS_OK;
}

/* Looks at what was opened: a plain file, an archive, or a pipe. */
static enum status take_fd(struct input *input, struct err *err)
{
    struct stat info;
    if (fstat(input->fd, &info) != 0)
        return ERR(err, STATUS_IO, "cannot read '%s': %s", input->name, strerror(errno));
    if (S_ISDIR(info.st_mode))
        return ERR(err, STATUS_IO, "cannot read '%s': it is a folder", input->name);
    input->is_seekable = S_ISREG(info.st_mode);
    if (!input->is_seekable || input->kind.is_plain || !is_archive(input->fd))
        return STATUS_OK;
    if (input->kind.follows)
        return ERR(err, STATUS_INVALID,
                   "'%s' is an archive, which does not grow; leave out --follow", input->name);
    input->is_seekable = false;
    return archive_entry_open(input->fd, input->name, input->kind.beside, &input->entry, err);
}

/* The file beside the results that `path` is, unless that is an archive, in which it is. A pipe is
 * not opened: who writes into it would take us for its reader. */
static enum status find_beside(struct input *input, const char *path, mode_t mode, struct err *err)
{
    bool is_folder = S_ISDIR(mode);
    char dir[FILE_PATH_BYTES];
    int length = snprintf(dir, sizeof(dir), "%s", path);
    if (length < 0 || (size_t)length >= sizeof(dir))
        return ERR(err, STATUS_LIMIT, "path too long: %.80s...", path);
    int fd = S_ISREG(mode) ? open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY) : -1;
    bool is_inside = fd >= 0 && is_archive(fd);
    if (fd >= 0)
        (void)close(fd);
    if (is_inside)
        return keep_name(input, path, err);
    char *slash = is_folder ? NULL : strrchr(dir, '/');
    if (slash != NULL)
        slash[slash == dir ? 1 : 0] = '\0';
    return file_join(is_folder || slash != NULL ? dir : ".", input->kind.beside, input->name, err);
}

/* Opens the path that `name` is. `must_be_plain`: it was not the user who named this file, and a
 * pipe of that name in a results folder must not hold us up. */
static enum status open_name(struct input *input, bool must_be_plain, struct err *err)
{
    int fd = open(input->name, O_RDONLY | O_CLOEXEC | O_NOCTTY | (must_be_plain ? O_NONBLOCK : 0));
    if (fd < 0)
        return ERR(err, errno == ENOENT ? STATUS_NOT_FOUND : STATUS_IO, "cannot read '%s': %s",
                   input->name, strerror(errno));
    struct stat info;
    bool is_plain = fstat(fd, &info) == 0 && (S_ISREG(info.st_mode) || S_ISDIR(info.st_mode));
    if (!is_plain && must_be_plain) {
        (void)close(fd);
        return ERR(err, STATUS_IO, "cannot read '%s': it is not a plain file", input->name);
    }
    input->fd = fd;
    return take_fd(input, err);
}

/* DIR/bench_results.jsonl, or the CSV file where there is only that. */
static enum status find_in_folder(struct input *input, const char *dir, struct err *err)
{
    char csv_path[FILE_PATH_BYTES];
    enum status status = file_join(dir, RESULT_JSONL_NAME, input->name, err);
    if (status == STATUS_OK)
        status = file_join(dir, RESULT_CSV_NAME, csv_path, err);
    if (status != STATUS_OK || file_exists(input->name))
        return status;
    if (file_exists(csv_path))
        memcpy(input->name, csv_path, sizeof(csv_path));
    else if (!input->kind.follows)
        return ERR(err, STATUS_NOT_FOUND, "'%s' has neither %s nor %s", dir, RESULT_JSONL_NAME,
                   RESULT_CSV_NAME);
    return STATUS_OK;
}

enum status input_open(const char *path, struct input_kind kind, struct input **ret_input,
                       struct err *err)
{
    struct input *input = calloc(1, sizeof(*input));
    if (input == NULL)
        return ERR(err, STATUS_NOMEM, "no memory to read '%.300s'", path);
    input->fd = -1;
    input->is_owned = input->has_path = true;
    input->kind = kind;
    struct stat info;
    mode_t mode = stat(path, &info) == 0 ? info.st_mode : 0;
    bool is_folder = S_ISDIR(mode);
    enum status status = kind.beside != NULL ? find_beside(input, path, mode, err)
                         : is_folder         ? find_in_folder(input, path, err)
                                             : keep_name(input, path, err);
    if (status == STATUS_OK && (!kind.follows || !is_folder || file_exists(input->name)))
        status = open_name(input, is_folder || kind.beside != NULL, err);
    if (status == STATUS_OK)
        *ret_input = input;
    else
        input_close(input);
    return status;
}

enum status input_open_fd(int fd, const char *name, struct input_kind kind,
                          struct input **ret_input, struct err *err)
{
    struct input *input = calloc(1, sizeof(*input));
    if (input == NULL)
        return ERR(err, STATUS_NOMEM, "no memory to read '%.300s'", name);
    input->fd = fd;
    input->kind = kind;
    enum status status = keep_name(input, name, err);
    if (status == STATUS_OK)
        status = take_fd(input, err);
    if (status == STATUS_OK)
        *ret_input = input;
    else
        input_close(input);
    return status;
}

void input_close(struct input *input)
{
    if (input == NULL)
        return;
    archive_entry_close(input->entry);
    if (input->is_owned && input->fd >= 0)
        (void)close(input->fd);
    free(input);
}

const char *input_name(const struct input *input)
{
    return input->name;
}

bool input_is_seekable(const struct input *input)
{
    return input->is_seekable;
}

bool input_is_ended(const struct input *input)
{
    return input->is_ended;
}

/* Are there bytes, or the end, in the pipe? */
static bool is_ready(const struct input *input)
{
    struct pollfd entry = {.fd = input->fd, .events = POLLIN};
    return poll(&entry, 1, 0) != 0;
}

static enum status read_pipe(struct input *input, void *bytes, size_t bytes_max, size_t *ret_bytes,
                             struct err *err)
{
    ssize_t got;
    *ret_bytes = 0;
    if (input->kind.follows && !is_ready(input))
        return STATUS_OK;
    do {
        got = read(input->fd, bytes, bytes_max);
    } while (got < 0 && errno == EINTR);
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK) && input->kind.follows)
        return STATUS_OK;
    if (got < 0)
        return ERR(err, STATUS_IO, "cannot read '%s': %s", input->name, strerror(errno));
    input->is_ended = got == 0;
    *ret_bytes = (size_t)got;
    return STATUS_OK;
}

enum status input_read(struct input *input, uint64_t offset, void *bytes, size_t bytes_max,
                       size_t *ret_bytes, struct err *err)
{
    if (input->entry != NULL)
        return archive_entry_read(input->entry, bytes, bytes_max, ret_bytes, err);
    *ret_bytes = 0;
    if (input->fd < 0)
        return STATUS_OK;
    if (!input->is_seekable)
        return read_pipe(input, bytes, bytes_max, ret_bytes, err);
    ssize_t got = read_at(input->fd, offset, bytes, bytes_max);
    if (got < 0)
        return ERR(err, STATUS_IO, "cannot read '%s': %s", input->name, strerror(errno));
    *ret_bytes = (size_t)got;
    return STATUS_OK;
}

enum input_change input_look(const struct input *input, uint64_t offset)
{
    struct stat mine;
    struct stat named;
    if (!input->is_seekable && input->fd >= 0)
        return INPUT_SAME;
    if (input->fd >= 0 && (fstat(input->fd, &mine) != 0 || (uint64_t)mine.st_size < offset))
        return INPUT_CUT;
    if (!input->has_path || stat(input->name, &named) != 0)
        return INPUT_SAME; /* gone, perhaps to come back */
    bool is_same = input->fd >= 0 && named.st_ino == mine.st_ino && named.st_dev == mine.st_dev;
    return is_same ? INPUT_SAME : INPUT_REPLACED;
}

bool input_has_start(const struct input *input, const char *start, size_t start_bytes)
{
    char now[START_BYTES_MAX];
    ASSERT(start_bytes <= sizeof(now));
    return !input->is_seekable ||
           (read_at(input->fd, 0, now, start_bytes) == (ssize_t)start_bytes &&
            memcmp(now, start, start_bytes) == 0);
}

enum status input_follow_name(struct input *input, bool *ret_is_there, struct err *err)
{
    int old = input->fd;
    struct err why = {0};
    enum status status = open_name(input, true, &why);
    *ret_is_there = status != STATUS_NOT_FOUND;
    if (input->fd != old && old >= 0)
        (void)close(old);
    return status == STATUS_OK || !*ret_is_there ? STATUS_OK : ERR(err, status, "%s", why.text);
}
