#include "proto/line.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "proto/message.h"

#define READ_BYTES  (64 * 1024)
#define WAIT_MS_MAX 1000000

void line_reader_init(struct line_reader *reader, int fd)
{
    *reader = (struct line_reader){.fd = fd};
    /* One line, its end, and what came with it in one read. */
    buf_init(&reader->data, PROTO_LINE_BYTES_MAX + READ_BYTES + 1);
}

void line_reader_release(struct line_reader *reader)
{
    if (reader == NULL)
        return;
    buf_release(&reader->data);
    reader->given_bytes = 0;
}

/* Milliseconds for poll(2); -1: there is no deadline. */
static int poll_timeout_ms(uint64_t deadline_ns)
{
    if (deadline_ns == 0)
        return -1;
    uint64_t now = clock_now_ns();
    return now < deadline_ns ? clock_poll_ms(deadline_ns - now, WAIT_MS_MAX) : 0;
}

/* Waits until the descriptor has something to read. */
static enum status wait_readable(const struct line_reader *reader, uint64_t deadline_ns,
                                 int wake_fd, struct err *err)
{
    struct pollfd polled[2] = {{.fd = reader->fd, .events = POLLIN},
                               {.fd = wake_fd, .events = POLLIN}};
    for (;;) {
        int timeout_ms = poll_timeout_ms(deadline_ns);
        int ready = poll(polled, wake_fd >= 0 ? 2 : 1, timeout_ms);
        if (ready < 0 && errno == EINTR)
            return ERR(err, STATUS_INTERRUPTED, "a signal came while waiting for a line");
        if (ready < 0)
            return ERR(err, STATUS_IO, "poll failed: %s", strerror(errno));
        /* What has come is taken before anything else: a reply that beat the signal counts. */
        if (polled[0].revents != 0)
            return STATUS_OK;
        if (wake_fd >= 0 && polled[1].revents != 0)
            return ERR(err, STATUS_INTERRUPTED, "a signal came while waiting for a line");
        if (deadline_ns != 0 && clock_now_ns() >= deadline_ns)
            return ERR(err, STATUS_TIMEOUT, "no complete line before the deadline");
    }
}

/* One read(2) into the buffer; is_at_end at the end of the stream. */
static enum status read_more(struct line_reader *reader, struct err *err)
{
    char chunk[READ_BYTES];
    ssize_t got = read(reader->fd, chunk, sizeof(chunk));
    if (got < 0 && (errno == EINTR || errno == EAGAIN))
        return STATUS_OK;
    if (got < 0)
        return ERR(err, STATUS_IO, "cannot read from the peer: %s", strerror(errno));
    if (got == 0)
        reader->is_at_end = true;
    buf_append(&reader->data, chunk, (size_t)got);
    if (reader->data.failed)
        return ERR(err, STATUS_NOMEM, "no memory for a line of %zu bytes",
                   reader->data.length_bytes + (size_t)got);
    return STATUS_OK;
}

/* Cuts the line that ends at `end` off the buffer's front. */
static enum status give_line(struct line_reader *reader, char *end, const char **ret_line,
                             size_t *ret_bytes, struct err *err)
{
    size_t bytes = (size_t)(end - reader->data.data);
    reader->given_bytes = bytes + 1;
    if (bytes > PROTO_LINE_BYTES_MAX)
        return ERR(err, STATUS_PROTOCOL, "a line of %zu bytes; the limit is %d", bytes,
                   PROTO_LINE_BYTES_MAX);
    if (memchr(reader->data.data, '\0', bytes) != NULL)
        return ERR(err, STATUS_PROTOCOL, "a NUL byte in a line");
    *end = '\0';
    *ret_line = reader->data.data;
    *ret_bytes = bytes;
    return STATUS_OK;
}

enum status line_reader_next(struct line_reader *reader, uint64_t deadline_ns, int wake_fd,
                             const char **ret_line, size_t *ret_bytes, struct err *err)
{
    buf_consume(&reader->data, reader->given_bytes);
    reader->given_bytes = 0;
    for (;;) {
        char *end = reader->data.length_bytes == 0
                        ? NULL
                        : memchr(reader->data.data, '\n', reader->data.length_bytes);
        if (end != NULL)
            return give_line(reader, end, ret_line, ret_bytes, err);
        if (reader->data.length_bytes > PROTO_LINE_BYTES_MAX)
            return ERR(err, STATUS_PROTOCOL, "a line of more than %d bytes", PROTO_LINE_BYTES_MAX);
        if (reader->is_at_end && reader->data.length_bytes > 0)
            return ERR(err, STATUS_PROTOCOL, "the stream ended inside a line, after %zu bytes",
                       reader->data.length_bytes);
        if (reader->is_at_end)
            return ERR(err, STATUS_NOT_FOUND, "the stream has ended");
        enum status status = wait_readable(reader, deadline_ns, wake_fd, err);
        if (status == STATUS_OK)
            status = read_more(reader, err);
        if (status != STATUS_OK)
            return status;
    }
}
