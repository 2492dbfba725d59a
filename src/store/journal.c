#include "store/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "store/lock.h"

#define LINE_BYTES_MAX (1U << 20)
#define WAIT_TRIES     50
#define WAIT_EVERY_NS  (100 * NS_PER_MS)

enum status journal_scan(const char *path, size_t line_bytes_max, lines_visit visit, void *context,
                         struct err *err)
{
    /* Not blocking: a pipe of that name must not hold the program up. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
        return STATUS_OK;
    if (fd < 0)
        return ERR(err, STATUS_IO, "cannot read '%s': %s", path, strerror(errno));
    struct lines_tail tail;
    enum status status = lines_scan(fd, path, line_bytes_max, visit, context, &tail, err);
    (void)close(fd);
    return status;
}

static enum status repair(struct journal *journal, struct err *err)
{
    struct lines_tail tail;
    enum status status =
        lines_scan(journal->lines.fd, journal->lines.path, LINE_BYTES_MAX, NULL, NULL, &tail, err);
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
    enum status status = lines_append(&journal->lines, line, line_bytes, err);
    if (status == STATUS_OK)
        status = lines_sync(&journal->lines, err);
    return status;
}
