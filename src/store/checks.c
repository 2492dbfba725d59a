#include "store/checks.h"

#include "store/lock.h"

#define LINE_BYTES_MAX (1U << 20)

static enum status repair(struct checks *checks, struct err *err)
{
    struct lines_tail tail;
    enum status status =
        lines_scan(checks->lines.fd, checks->lines.path, LINE_BYTES_MAX, NULL, NULL, &tail, err);
    if (status != STATUS_OK || tail.torn_bytes == 0)
        return status;
    checks->torn_bytes = (size_t)tail.torn_bytes;
    return lines_truncate(&checks->lines, tail.whole_bytes, err);
}

enum status checks_open(const char *dir, struct checks *ret_checks, struct err *err)
{
    struct checks checks = {.lock_fd = -1, .lines = {.fd = -1}};
    char path[FILE_PATH_BYTES];
    enum status status = file_make_dirs(dir, err);
    if (status == STATUS_OK)
        status = lock_acquire(dir, &checks.lock_fd, err);
    if (status == STATUS_OK)
        status = file_join(dir, CHECKS_NAME, path, err);
    if (status == STATUS_OK)
        status = lines_open(&checks.lines, path, err);
    if (status == STATUS_OK)
        status = repair(&checks, err);
    if (status == STATUS_OK)
        *ret_checks = checks;
    else
        checks_close(&checks);
    return status;
}

void checks_close(struct checks *checks)
{
    lines_close(&checks->lines);
    lock_release(checks->lock_fd);
    checks->lock_fd = -1;
}

enum status checks_append(struct checks *checks, const char *line, size_t line_bytes,
                          struct err *err)
{
    enum status status = lines_append(&checks->lines, line, line_bytes, err);
    if (status == STATUS_OK)
        status = lines_sync(&checks->lines, err);
    return status;
}
