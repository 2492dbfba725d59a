#include "store/lines.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"

#define CHUNK_BYTES 65536U

struct scan {
    struct buf pending; /* start of a line whose end is not read yet */
    bool is_skipping;   /* the line is too long: only its end is looked for */
    size_t line_bytes_max;
    lines_visit visit;
    void *context;
};

/* `part` completes the pending line. */
static enum status end_line(struct scan *scan, const char *part, size_t part_bytes, struct err *err)
{
    bool is_too_long =
        scan->is_skipping || scan->pending.length_bytes + part_bytes > scan->line_bytes_max;
    const char *line = part;
    size_t line_bytes = part_bytes;
    if (!is_too_long && scan->pending.length_bytes > 0) {
        buf_append(&scan->pending, part, part_bytes);
        line = scan->pending.data;
        line_bytes = scan->pending.length_bytes;
    }
    enum status status = STATUS_OK;
    if (scan->pending.failed)
        status = ERR(err, STATUS_NOMEM, "no memory for a line of %zu bytes", line_bytes);
    else if (scan->visit != NULL)
        status = is_too_long ? scan->visit(scan->context, NULL, 0, err)
                             : scan->visit(scan->context, line, line_bytes, err);
    buf_reset(&scan->pending);
    scan->is_skipping = false;
    return status;
}

/* Keeps the start of a line, unless it is too long already. */
static void keep_start(struct scan *scan, const char *part, size_t part_bytes)
{
    if (scan->is_skipping)
        return;
    if (scan->pending.length_bytes + part_bytes > scan->line_bytes_max) {
        scan->is_skipping = true;
        buf_reset(&scan->pending);
    } else {
        buf_append(&scan->pending, part, part_bytes);
    }
}

static enum status scan_chunk(struct scan *scan, const char *chunk, size_t chunk_bytes,
                              uint64_t offset, struct lines_tail *tail, struct err *err)
{
    const char *next = chunk;
    const char *end = chunk + chunk_bytes;
    while (next < end) {
        const char *newline = memchr(next, '\n', (size_t)(end - next));
        if (newline == NULL) {
            keep_start(scan, next, (size_t)(end - next));
            break;
        }
        enum status status = end_line(scan, next, (size_t)(newline - next), err);
        if (status != STATUS_OK)
            return status;
        next = newline + 1;
        tail->whole_bytes = offset + (uint64_t)(next - chunk);
    }
    return STATUS_OK;
}

enum status lines_scan(int fd, const char *path, size_t line_bytes_max, lines_visit visit,
                       void *context, struct lines_tail *ret_tail, struct err *err)
{
    char *chunk = malloc(CHUNK_BYTES);
    if (chunk == NULL)
        return ERR(err, STATUS_NOMEM, "no memory to read '%s'", path);
    struct scan scan = {.line_bytes_max = line_bytes_max, .visit = visit, .context = context};
    buf_init(&scan.pending, line_bytes_max);
    struct lines_tail tail = {0};
    uint64_t offset = 0;
    enum status status = STATUS_OK;
    while (status == STATUS_OK) {
        ssize_t got = pread(fd, chunk, CHUNK_BYTES, (off_t)offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            status = ERR(err, STATUS_IO, "cannot read '%s': %s", path, strerror(errno));
        if (got <= 0)
            break;
        status = scan_chunk(&scan, chunk, (size_t)got, offset, &tail, err);
        offset += (uint64_t)got;
    }
    tail.torn_bytes = offset - tail.whole_bytes;
    buf_release(&scan.pending);
    free(chunk);
    if (status == STATUS_OK)
        *ret_tail = tail;
    return status;
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

void lines_undo(struct lines_file *file)
{
    file->is_undo_due = lines_truncate(file, file->length_bytes, NULL) != STATUS_OK;
}

static const char *advice(int error)
{
    switch (error) {
    case ENOSPC:
    case EDQUOT: return "; free some space, then go on with --resume";
    case EFBIG: return "; raise the file size limit (ulimit -f), then go on with --resume";
    default: return "; mend that, then go on with --resume";
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
