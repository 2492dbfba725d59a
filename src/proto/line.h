/* proto/line.h - lines over a descriptor, with a limit and a deadline. */
#ifndef PROTO_LINE_H
#define PROTO_LINE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/status.h"

struct line_reader {
    int fd;          /* borrowed */
    struct buf data; /* owned: bytes read and not yet given */
    size_t given_bytes;
    bool is_at_end;
};

void line_reader_init(struct line_reader *reader, int fd);
void line_reader_release(struct line_reader *reader);

/* One line, without '\n', borrowed until the next call. Waits with poll(2) until `deadline_ns`
 * (clock_now_ns(); 0 = no limit) or until `wake_fd` (-1 = none) is readable.
 * STATUS_TIMEOUT; STATUS_INTERRUPTED for wake_fd or a signal; STATUS_PROTOCOL for a line over
 * PROTO_LINE_BYTES_MAX or a NUL byte in it; STATUS_NOT_FOUND at the end of the stream (a part of a
 * line before it is a STATUS_PROTOCOL). */
MUST_CHECK enum status line_reader_next(struct line_reader *reader, uint64_t deadline_ns,
                                        int wake_fd, const char **ret_line, size_t *ret_bytes,
                                        struct err *err);

#endif
