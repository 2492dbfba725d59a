#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "patience.h"
#include "proto/line.h"
#include "proto/message.h"

struct fixture {
    int read_fd;
    int write_fd;
    struct line_reader reader;
    const char *line;
    size_t line_bytes;
    struct err err;
};

static void start(struct fixture *f)
{
    int fds[2];
    memset(f, 0, sizeof(*f));
    cr_assert_eq(pipe(fds), 0);
    f->read_fd = fds[0];
    f->write_fd = fds[1];
    line_reader_init(&f->reader, f->read_fd);
}

static void stop(struct fixture *f)
{
    line_reader_release(&f->reader);
    close(f->read_fd);
    if (f->write_fd >= 0)
        close(f->write_fd);
}

static void put(struct fixture *f, const char *bytes, size_t count)
{
    cr_assert_eq(write(f->write_fd, bytes, count), (ssize_t)count);
}

static enum status next_within(struct fixture *f, uint64_t ms)
{
    f->err = (struct err){0};
    return line_reader_next(&f->reader, clock_now_ns() + ms * NS_PER_MS, -1, &f->line,
                            &f->line_bytes, &f->err);
}

Test(proto_line, lines_come_one_by_one_however_they_were_written)
{
    struct fixture f;
    start(&f);
    put(&f, "one\ntwo\n\nth", 11);
    cr_assert_eq(next_within(&f, PATIENCE_MS), STATUS_OK);
    cr_assert_str_eq(f.line, "one");
    cr_assert_eq(f.line_bytes, 3);
    cr_assert_eq(next_within(&f, PATIENCE_MS), STATUS_OK);
    cr_assert_str_eq(f.line, "two");
    cr_assert_eq(next_within(&f, PATIENCE_MS), STATUS_OK);
    cr_assert_eq(f.line_bytes, 0);
    cr_assert_eq(next_within(&f, 20), STATUS_TIMEOUT, "half a line is no line");
    put(&f, "ree\n", 4);
    cr_assert_eq(next_within(&f, PATIENCE_MS), STATUS_OK);
    cr_assert_str_eq(f.line, "three");
    close(f.write_fd);
    f.write_fd = -1;
    cr_assert_eq(next_within(&f, PATIENCE_MS), STATUS_NOT_FOUND);
    cr_assert_eq(next_within(&f, PATIENCE_MS), STATUS_NOT_FOUND, "the end stays the end");
    stop(&f);
}

Test(proto_line, a_deadline_is_kept_and_not_early)
{
    struct fixture f;
    start(&f);
    uint64_t before = clock_now_ns();
    cr_assert_eq(next_within(&f, 50), STATUS_TIMEOUT);
    uint64_t took_ms = (clock_now_ns() - before) / NS_PER_MS;
    cr_assert(took_ms >= 50 && took_ms < 2000, "%d ms", (int)took_ms);
    stop(&f);
}

Test(proto_line, a_peer_that_drips_does_not_outlive_the_deadline)
{
    struct fixture f;
    start(&f);
    pid_t child = fork();
    if (child == 0) {
        close(f.read_fd);
        while (write(f.write_fd, "x", 1) == 1)
            usleep(1000);
        _exit(0);
    }
    cr_assert_eq(next_within(&f, 100), STATUS_TIMEOUT); /* else it would read for ever */
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    stop(&f);
}

Test(proto_line, half_a_line_at_the_end_breaks_the_protocol)
{
    struct fixture f;
    start(&f);
    put(&f, "{\"type\":", 8);
    close(f.write_fd);
    f.write_fd = -1;
    cr_assert_eq(next_within(&f, PATIENCE_MS), STATUS_PROTOCOL);
    cr_assert(strstr(f.err.text, "8 bytes") != NULL, "%s", f.err.text);
    stop(&f);
}

Test(proto_line, a_nul_byte_breaks_the_protocol)
{
    struct fixture f;
    start(&f);
    put(&f, "a\0b\n", 4);
    cr_assert_eq(next_within(&f, PATIENCE_MS), STATUS_PROTOCOL);
    stop(&f);
}

Test(proto_line, a_readable_wake_descriptor_ends_the_wait_but_not_before_a_line)
{
    struct fixture f;
    start(&f);
    int wake[2];
    cr_assert_eq(pipe(wake), 0);
    cr_assert_eq(write(wake[1], "!", 1), 1);
    put(&f, "line\n", 5);
    cr_assert_eq(line_reader_next(&f.reader, 0, wake[0], &f.line, &f.line_bytes, &f.err),
                 STATUS_OK);
    cr_assert_eq(line_reader_next(&f.reader, 0, wake[0], &f.line, &f.line_bytes, &f.err),
                 STATUS_INTERRUPTED);
    close(wake[0]);
    close(wake[1]);
    stop(&f);
}

/* A child writes, as a pipe does not hold a megabyte. */
static enum status read_line_of(size_t bytes, bool has_end, size_t *ret_bytes)
{
    struct fixture f;
    start(&f);
    pid_t child = fork();
    if (child == 0) {
        char *text = malloc(bytes + 1);
        memset(text, 'x', bytes);
        text[bytes] = '\n';
        close(f.read_fd);
        (void)!write(f.write_fd, text, bytes + (has_end ? 1 : 0));
        _exit(0);
    }
    close(f.write_fd);
    f.write_fd = -1;
    enum status status = next_within(&f, PATIENCE_MS);
    *ret_bytes = f.line_bytes;
    stop(&f);
    return status;
}

Test(proto_line, the_limit_is_exact)
{
    size_t bytes = 0;
    cr_assert_eq(read_line_of(PROTO_LINE_BYTES_MAX, true, &bytes), STATUS_OK);
    cr_assert_eq(bytes, PROTO_LINE_BYTES_MAX);
    cr_assert_eq(read_line_of(PROTO_LINE_BYTES_MAX + 1, true, &bytes), STATUS_PROTOCOL);
    cr_assert_eq(read_line_of((size_t)PROTO_LINE_BYTES_MAX * 8, false, &bytes), STATUS_PROTOCOL);
}

/* What the system does not let be read is an error, and no line that may yet come. */
Test(proto_line, a_descriptor_that_cannot_be_read_is_an_error)
{
    int fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct line_reader reader;
    const char *line = NULL;
    size_t bytes = 0;
    struct err err = {0};
    cr_assert_geq(fd, 0);
    line_reader_init(&reader, fd);
    cr_expect_eq(line_reader_next(&reader, 0, -1, &line, &bytes, &err), STATUS_IO);
    cr_expect_not_null(strstr(err.text, "cannot read from the peer"), "%s", err.text);
    line_reader_release(&reader);
    (void)close(fd);
}

static void on_alarm(int signal_number)
{
    (void)signal_number;
}

/* Signals come again and again, so that one falls into the wait. */
Test(proto_line, a_signal_ends_the_wait)
{
    struct fixture f;
    start(&f);
    struct sigaction action = {.sa_handler = on_alarm};
    const struct itimerval often = {{.tv_usec = 10000}, {.tv_usec = 10000}};
    cr_assert_eq(sigaction(SIGALRM, &action, NULL), 0);
    cr_assert_eq(setitimer(ITIMER_REAL, &often, NULL), 0);
    cr_expect_eq(next_within(&f, PATIENCE_MS), STATUS_INTERRUPTED);
    stop(&f);
}
