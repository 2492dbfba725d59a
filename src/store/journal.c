#include "store/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "result/line_source.h"
#include "store/lock.h"

#define WAIT_TRIES    50
#define WAIT_EVERY_NS (100 * NS_PER_MS)

static enum status visit_lines(struct line_source *source, journal_visit visit, void *context,
                               struct err *err)
{
    struct line line = {.kind = LINE_WHOLE};
    enum status status = STATUS_OK;
    while (status == STATUS_OK && line.kind != LINE_END) {
        status = line_source_next(source, &line, err);
        if (status == STATUS_OK && (line.kind == LINE_WHOLE || line.kind == LINE_TOO_LONG))
            status = visit(context, line.text, line.bytes, err);
    }
    return status;
}

enum status journal_scan(const char *path, size_t line_bytes_max, journal_visit visit,
                         void *context, struct err *err)
{
    /* Not blocking: a pipe of that name must not hold the program up. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
        return STATUS_OK;
    if (fd < 0)
        return ERR(err, STATUS_IO, "cannot read '%s': %s", path, strerror(errno));
    struct input *input = NULL;
    struct line_source *source = NULL;
    enum status status =
        input_open_fd(fd, path, (struct input_kind){.is_plain = true}, &input, err);
    if (status == STATUS_OK)
        status = line_source_new(input, false, line_bytes_max, &source, err);
    if (status == STATUS_OK)
        status = visit_lines(source, visit, context, err);
    line_source_free(source);
    (void)close(fd);
    return status;
}

static enum status repair(struct journal *journal, struct err *err)
{
    struct lines_tail tail;
    enum status status = lines_find_tail(journal->lines.fd, journal->lines.path, &tail, err);
    if (status != STATUS_OK || tail.torn_bytes == 0)
        return status;
    journal->torn_bytes = (size_t)tail.torn_bytes;
    return lines_truncate(&journal->lines, tail.whole_bytes, err);
}

enum status journal_open(const char *dir, const char *name, struct journal *ret_journal,
                         struct err *err)
{
    struct journal journal = {.lock_fd = -1, .lines = {.fd = -1}};
    char path[FILE_PATH_BYTES];
    enum status status = file_make_dirs(dir, err);
    if (status == STATUS_OK)
        status = lock_acquire(dir, &journal.lock_fd, err);
    if (status == STATUS_OK)
        status = file_join(dir, name, path, err);
    if (status == STATUS_OK)
        status = lines_open(&journal.lines, path, err);
    if (status == STATUS_OK)
        status = repair(&journal, err);
    if (status == STATUS_OK)
        *ret_journal = journal;
    else
        journal_close(&journal);
    return status;
}

enum status journal_open_patiently(const char *dir, const char *name, struct journal *ret_journal,
                                   struct err *err)
{
    for (int i = 0;; i++) {
        struct err why = {0};
        enum status status = journal_open(dir, name, ret_journal, &why);
        if (status == STATUS_OK)
            return status;
        if (status != STATUS_BUSY || i == WAIT_TRIES)
            return ERR(err, status, "%s", why.text);
        const struct timespec pause = {.tv_nsec = WAIT_EVERY_NS};
        (void)nanosleep(&pause, NULL);
    }
}

void journal_close(struct journal *journal)
{
    lines_close(&journal->lines);
    lock_release(journal->lock_fd);
    journal->lock_fd = -1;
}

enum status journal_append(struct journal *journal, const char *line, size_t line_bytes,
                           struct err *err)
{
    TRY(lines_append(&journal->lines, line, line_bytes, err));
    enum status status = lines_sync(&journal->lines, err);
    if (status != STATUS_OK)
        lines_undo(&journal->lines); /* what is said to have failed is not there */
    return status;
}
