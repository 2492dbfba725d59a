/* store/lines.h - files that only grow, by whole lines: how a line gets in, and how the end is
 * repaired after a crash. Reading them is result/line_source.h's.
 *
 * A line is there when its '\n' is. Whatever follows the last '\n' was never finished: it is what a
 * killed process or a full disk left of one write.
 */
#ifndef STORE_LINES_H
#define STORE_LINES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/file.h"
#include "base/status.h"

struct lines_tail {
    uint64_t whole_bytes; /* up to and with the last '\n' */
    uint64_t torn_bytes;  /* behind it */
};

/* Looks at the end of the file only, with pread(2). */
MUST_CHECK enum status lines_find_tail(int fd, const char *path, struct lines_tail *ret_tail,
                                       struct err *err);

/* A file open for appending. Zeroed with fd = -1 it is closed. */
struct lines_file {
    int fd;
    char path[FILE_PATH_BYTES];
    uint64_t length_bytes; /* before the last append: what lines_undo() goes back to */
    bool is_undo_due;      /* a part of an append is still in the file */
};

/* Opens (and makes) the file; does not look at its content. Only plain files are taken. */
MUST_CHECK enum status lines_open(struct lines_file *file, const char *path, struct err *err);
/* The same, and cuts off what was never a finished line. */
MUST_CHECK enum status lines_open_repaired(struct lines_file *file, const char *path,
                                           struct err *err);
void lines_close(struct lines_file *file);

/* Cuts the file to that length. */
MUST_CHECK enum status lines_truncate(struct lines_file *file, uint64_t length_bytes,
                                      struct err *err);

/* Appends `bytes`, which end in '\n', with one write(2). When that fails or is short the file is
 * cut back to its length before, and the error says what to do. */
MUST_CHECK enum status lines_append(struct lines_file *file, const char *bytes, size_t bytes_count,
                                    struct err *err);
/* Takes the last append back. What cannot be taken back now is by the next append, or when the
 * folder is opened again. */
void lines_undo(struct lines_file *file);
MUST_CHECK enum status lines_sync(struct lines_file *file, struct err *err);

#endif
