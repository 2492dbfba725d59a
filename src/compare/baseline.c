#include "compare/baseline.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/user_folder.h"
#include "result/visit.h"

#define FOLDER_NAME     "baselines"
#define FLUSH_BYTES     ((size_t)1 << 20)
#define LINES_BYTES_MAX (FLUSH_BYTES + 8 * (size_t)RECORD_LINE_BYTES_MAX)

enum status baseline_check_name(const char *name, struct err *err)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                  "0123456789._-";
    size_t bytes = strlen(name);
    if (bytes == 0 || bytes > BASELINE_NAME_BYTES_MAX || name[0] == '.' ||
        strspn(name, letters) != bytes)
        return ERR(err, STATUS_INVALID,
                   "'%.120s' is no name of a baseline: letters, digits, '.', '_' and '-', at most "
                   "%d, no '.' first",
                   name, BASELINE_NAME_BYTES_MAX);
    return STATUS_OK;
}

/* Where it is, there or not. */
static enum status find_path(const char *name, char path[FILE_PATH_BYTES], struct err *err)
{
    char file[sizeof(FOLDER_NAME) + BASELINE_NAME_BYTES_MAX + sizeof("/.jsonl")];
    enum status status = baseline_check_name(name, err);
    if (status != STATUS_OK)
        return status;
    (void)snprintf(file, sizeof(file), "%s/%.*s.jsonl", FOLDER_NAME, BASELINE_NAME_BYTES_MAX, name);
    return user_folder_data(file, path, err);
}

enum status baseline_resolve(const char *operand, char path[FILE_PATH_BYTES], struct err *err)
{
    size_t prefix = strlen(BASELINE_PREFIX);
    if (strncmp(operand, BASELINE_PREFIX, prefix) == 0)
        return find_path(operand + prefix, path, err);
    int length = snprintf(path, FILE_PATH_BYTES, "%s", operand);
    return length >= 0 && length < FILE_PATH_BYTES
               ? STATUS_OK
               : ERR(err, STATUS_INVALID, "path too long: %.80s...", operand);
}

static enum status write_lines(struct buf *lines, int fd, struct err *err)
{
    if (lines->failed)
        return ERR(err, STATUS_NOMEM, "no memory for a baseline");
    enum status status = file_write_fd(fd, lines->data, lines->length_bytes, err);
    buf_reset(lines);
    return status;
}

struct writing {
    struct buf lines;
    int fd;
    size_t count;
};

static enum status write_record(void *context, const struct reader_item *item, struct err *err)
{
    struct writing *writing = context;
    writing->count++;
    reader_append_line(item, &writing->lines);
    return writing->lines.failed || writing->lines.length_bytes >= FLUSH_BYTES
               ? write_lines(&writing->lines, writing->fd, err)
               : STATUS_OK;
}

/* A file_writer of the source's records. */
static enum status write_records(void *context, int fd, struct err *err)
{
    const char *source = context;
    struct writing writing = {.fd = fd};
    buf_init(&writing.lines, LINES_BYTES_MAX);
    enum status status = visit_source(source, NULL, write_record, &writing, NULL, err);
    if (status == STATUS_OK)
        status = write_lines(&writing.lines, fd, err);
    if (status == STATUS_OK && writing.count == 0)
        status = ERR(err, STATUS_INVALID, "'%s' has no record to be kept as a baseline", source);
    buf_release(&writing.lines);
    return status;
}

/* A name that nobody else takes meanwhile is made by a link, which fails where there is one. */
static enum status save_new(const char *path, const char *source, struct err *err)
{
    char temporary[FILE_PATH_BYTES];
    int length = snprintf(temporary, sizeof(temporary), "%s.%ld.new", path, (long)getpid());
    if (length < 0 || (size_t)length >= sizeof(temporary))
        return ERR(err, STATUS_LIMIT, "path too long: %.80s...", path);
    enum status status = file_replace(temporary, write_records, (void *)source, err);
    if (status != STATUS_OK)
        return status;
    if (link(temporary, path) != 0)
        status = errno == EEXIST
                     ? ERR(err, STATUS_BUSY, "there is a baseline of that name already: '%s'", path)
                     : ERR(err, STATUS_IO, "cannot make '%s': %s", path, strerror(errno));
    (void)unlink(temporary);
    return status;
}

enum status baseline_save(const char *name, const char *source, bool replaces, struct err *err)
{
    char path[FILE_PATH_BYTES];
    char folder[FILE_PATH_BYTES];
    enum status status = find_path(name, path, err);
    if (status == STATUS_OK)
        status = user_folder_data(FOLDER_NAME, folder, err);
    if (status == STATUS_OK)
        status = file_make_dirs(folder, err);
    if (status != STATUS_OK)
        return status;
    return replaces ? file_replace(path, write_records, (void *)source, err)
                    : save_new(path, source, err);
}
