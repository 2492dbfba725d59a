#include "store/csv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "result/visit.h"

#define CSV_FLUSH_BYTES 65536U
#define CSV_ASIDE_MAX   1000

/* Are the file's bytes at `offset` these? */
static bool has_bytes(int fd, uint64_t offset, const char *bytes, size_t bytes_count)
{
    char chunk[4096];
    while (bytes_count > 0) {
        size_t wanted = bytes_count < sizeof(chunk) ? bytes_count : sizeof(chunk);
        ssize_t got = pread(fd, chunk, wanted, (off_t)offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0 || memcmp(chunk, bytes, (size_t)got) != 0)
            return false;
        bytes += got;
        bytes_count -= (size_t)got;
        offset += (uint64_t)got;
    }
    return true;
}

/* Ours begins with the published columns and the first of our own; the rest may be an earlier
 * version's. A file that ends inside of our header was ours, too. */
static bool is_ours(int fd, uint64_t length, const struct buf *header)
{
    if (length < header->length_bytes && has_bytes(fd, 0, header->data, (size_t)length))
        return true;
    struct buf mark;
    buf_init(&mark, RECORD_ROW_BYTES_MAX);
    for (enum fact_id i = 0; i <= FACT_SCHEMA; i++)
        buf_appendf(&mark, "%s,", fact_of(i)->name);
    bool is_mark = !mark.failed && has_bytes(fd, 0, mark.data, mark.length_bytes);
    buf_release(&mark);
    return is_mark;
}

static void check_bytes(struct csv_check *check)
{
    if (check->row.failed)
        check->is_equal = false;
    if (check->is_equal)
        check->is_equal =
            has_bytes(check->fd, check->expected_bytes, check->row.data, check->row.length_bytes);
    check->expected_bytes += check->row.length_bytes;
    buf_reset(&check->row);
}

enum status csv_check_open(struct csv_check *check, const char *path, enum csv_kind *ret_kind,
                           struct err *err)
{
    *check = (struct csv_check){.fd = -1};
    buf_init(&check->row, RECORD_ROW_BYTES_MAX);
    enum csv_kind kind = CSV_MISSING;
    check->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (check->fd < 0 && errno != ENOENT)
        return ERR(err, STATUS_IO, "cannot read '%s': %s", path, strerror(errno));
    record_format_csv_header(&check->row);
    if (check->row.failed) {
        csv_check_close(check);
        return ERR(err, STATUS_NOMEM, "no memory to look at '%s'", path);
    }
    if (check->fd >= 0) {
        struct stat info;
        if (fstat(check->fd, &info) != 0 || !S_ISREG(info.st_mode)) {
            csv_check_close(check);
            return ERR(err, STATUS_IO, "cannot write '%s': it is not a plain file", path);
        }
        check->file_bytes = (uint64_t)info.st_size;
        kind = is_ours(check->fd, check->file_bytes, &check->row) ? CSV_OURS : CSV_FOREIGN;
    }
    check->is_equal = check->fd >= 0;
    check_bytes(check);
    *ret_kind = kind;
    return STATUS_OK;
}

void csv_check_row(struct csv_check *check, const struct record *record)
{
    record_format_csv(record, &check->row);
    check_bytes(check);
}

bool csv_check_is_equal(const struct csv_check *check)
{
    return check->is_equal && check->file_bytes == check->expected_bytes;
}

bool csv_check_is_longer(const struct csv_check *check)
{
    return check->file_bytes > check->expected_bytes;
}

void csv_check_close(struct csv_check *check)
{
    if (check->fd >= 0)
        (void)close(check->fd);
    check->fd = -1;
    buf_release(&check->row);
}

enum status csv_move_aside(const char *path, struct err *err)
{
    for (int i = 0; i < CSV_ASIDE_MAX; i++) {
        char aside[FILE_PATH_BYTES];
        int length = i == 0 ? snprintf(aside, sizeof(aside), "%s.orig", path)
                            : snprintf(aside, sizeof(aside), "%s.orig.%d", path, i);
        if (length < 0 || (size_t)length >= sizeof(aside))
            return ERR(err, STATUS_LIMIT, "path too long: %.80s...", path);
        /* We hold the folder's lock; nobody else makes that name between the two calls. */
        struct stat info;
        if (lstat(aside, &info) == 0)
            continue;
        if (rename(path, aside) != 0)
            return ERR(err, STATUS_IO, "cannot move '%s' aside: %s", path, strerror(errno));
        return STATUS_OK;
    }
    return ERR(err, STATUS_IO, "cannot move '%s' aside: all names to %s.orig.%d are taken", path,
               path, CSV_ASIDE_MAX - 1);
}

struct remake {
    int fd;
    struct buf pending;
};

static enum status flush(struct remake *remake, struct err *err)
{
    enum status status = remake->pending.failed ? ERR(err, STATUS_NOMEM, "no memory for a row")
                                                : file_write_fd(remake->fd, remake->pending.data,
                                                                remake->pending.length_bytes, err);
    buf_reset(&remake->pending);
    return status;
}

static enum status remake_row(void *context, const struct reader_item *item, struct err *err)
{
    struct remake *remake = context;
    if (item->is_published)
        return STATUS_OK;
    record_format_csv(item->record, &remake->pending);
    return remake->pending.failed || remake->pending.length_bytes >= CSV_FLUSH_BYTES
               ? flush(remake, err)
               : STATUS_OK;
}

struct rows_source {
    int jsonl_fd;
    const char *jsonl_path; /* borrowed: for the call */
};

static enum status write_rows(void *context, int fd, struct err *err)
{
    const struct rows_source *source = context;
    const struct reader_options options = {.is_jsonl = true};
    struct reader *reader = NULL;
    enum status status =
        reader_open_fd(source->jsonl_fd, source->jsonl_path, &options, &reader, err);
    if (status != STATUS_OK)
        return status;
    struct remake remake = {.fd = fd};
    buf_init(&remake.pending, CSV_FLUSH_BYTES + RECORD_ROW_BYTES_MAX);
    record_format_csv_header(&remake.pending);
    status = visit_reader(reader, remake_row, &remake, NULL, err);
    if (status == STATUS_OK)
        status = flush(&remake, err);
    buf_release(&remake.pending);
    return status;
}

enum status csv_remake(const char *path, int jsonl_fd, const char *jsonl_path, struct err *err)
{
    struct rows_source source = {jsonl_fd, jsonl_path};
    return file_replace(path, write_rows, &source, err);
}
