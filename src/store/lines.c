#include "store/lines.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHUNK_BYTES 65536U

enum status lines_find_tail(int fd, const char *path, struct lines_tail *ret_tail, struct err *err)
{
    char chunk[CHUNK_BYTES];
    struct stat info;
    if (fstat(fd, &info) != 0)
        return ERR(err, STATUS_IO, "cannot read '%s': %s", path, strerror(errno));
    uint64_t length = (uint64_t)info.st_size;
    uint64_t end = length;
    const char *newline = NULL;
    while (end > 0 && newline == NULL) {
        size_t wanted = end < sizeof(chunk) ? (size_t)end : sizeof(chunk);
        ssize_t got = pread(fd, chunk, wanted, (off_t)(end - wanted));
        if (got < 0 && errno == EINTR)
            continue;
        if (got != (ssize_t)wanted)
            return ERR(err, STATUS_IO, "cannot read '%s': %s", path,
                       got < 0 ? strerror(errno) : "it became shorter meanwhile");
        newline = memrchr(chunk, '\n', wanted);
        end -= wanted - (newline != NULL ? (size_t)(newline - chunk) + 1 : 0);
    }
    *ret_tail = (struct lines_tail){.whole_bytes = end, .torn_bytes = length - end};
    return STATUS_OK;
}

enum status lines_open(struct lines_file *file, const char *path, struct err *err)
{
    size_t path_bytes = strlen(path) + 1;
    if (path_bytes > sizeof(file->path))
        return ERR(err, STATUS_LIMIT, "path too long: %.80s...", path);
    /* Non-blocking, so that a pipe of that name cannot hold us up. */
    int fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0666);
    if (fd < 0)
        return ERR(err, STATUS_IO, "cannot write '%s': %s", path, strerror(errno));
    struct stat info;
    if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
        (void)close(fd);
        return ERR(err, STATUS_IO, "cannot write '%s': it is not a plain file", path);
    }
    *file = (struct lines_file){.fd = fd};
    memcpy(file->path, path, path_bytes);
    return STATUS_OK;
}

void lines_close(struct lines_file *file)
{
    if (file->fd >= 0)
        (void)close(file->fd);
    file->fd = -1;
}

enum status lines_truncate(struct lines_file *file, uint64_t length_bytes, struct err *err)
{
    int result;
    do {
        result = ftruncate(file->fd, (off_t)length_bytes);
    } while (result != 0 && errno == EINTR);
    if (result != 0)
        return ERR(err, STATUS_IO, "cannot repair the end of '%s': %s", file->path,
                   strerror(errno));
    file->is_undo_due = false;
    return STATUS_OK;
}

enum status lines_open_repaired(struct lines_file *file, const char *path, struct err *err)
{
    enum status status = lines_open(file, path, err);
    if (status != STATUS_OK)
        return status;
    struct lines_tail tail;
    status = lines_find_tail(file->fd, path, &tail, err);
    if (status == STATUS_OK && tail.torn_bytes > 0)
        status = lines_truncate(file, tail.whole_bytes, err);
    if (status != STATUS_OK)
        lines_close(file);
    return status;
}

void lines_undo(struct lines_file *file)
{
    file->is_undo_due = lines_truncate(file, file->length_bytes, NULL) != STATUS_OK;
}

static const char *advice(int error)
{
    switch (error) {
    case ENOSPC:
    case EDQUOT: return "; free some space, then continue with --resume";
    case EFBIG: return "; raise the file size limit (ulimit -f), then continue with --resume";
    default: return "; fix that, then continue with --resume";
    }
}

enum status lines_append(struct lines_file *file, const char *bytes, size_t bytes_count,
                         struct err *err)
{
    if (file->is_undo_due) {
        enum status status = lines_truncate(file, file->length_bytes, err);
        if (status != STATUS_OK)
            return status;
    }
    struct stat info;
    if (fstat(file->fd, &info) != 0)
        return ERR(err, STATUS_IO, "cannot write '%s': %s", file->path, strerror(errno));
    file->length_bytes = (uint64_t)info.st_size;
    ssize_t done;
    do {
        done = write(file->fd, bytes, bytes_count);
    } while (done < 0 && errno == EINTR);
    if (done >= 0 && (size_t)done == bytes_count)
        return STATUS_OK;
    /* A short write is how a disk that fills up, or a size limit, shows first. */
    int error = done < 0 ? errno : ENOSPC;
    lines_undo(file);
    if (done < 0)
        return ERR(err, STATUS_IO, "cannot write '%s': %s%s", file->path, strerror(error),
                   advice(error));
    return ERR(err, STATUS_IO,
               "cannot write '%s': only %zd of %zu bytes went in (disk full, or a file size "
               "limit)%s",
               file->path, done, bytes_count, advice(error));
}

enum status lines_sync(struct lines_file *file, struct err *err)
{
    if (fdatasync(file->fd) != 0)
        return ERR(err, STATUS_IO, "cannot sync '%s': %s", file->path, strerror(errno));
    return STATUS_OK;
}
