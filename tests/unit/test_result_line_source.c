/* Lines of a file that is whole, torn, growing, cut, replaced, too long; of a pipe; of an archive.
 */
#include <errno.h>
#include <minizip/zip.h>
#include <signal.h>
#include <sys/inotify.h>
#include <sys/wait.h>

#include "base/random.h"
#include "result/line_source.h"
#include "scratch.h"

#define LONGEST 1000

static char dir[FILE_PATH_BYTES];
static char path[FILE_PATH_BYTES];

static void set_up(void)
{
    scratch_new(dir);
    scratch_path(path, dir, "lines");
}

static void tear_down(void)
{
    scratch_free(dir);
}

TestSuite(result_line_source, .init = set_up, .fini = tear_down);

static struct line_source *open_lines(bool follows)
{
    struct input *input = NULL;
    struct line_source *source = NULL;
    struct err err = {0};
    cr_assert_eq(input_open(path, (struct input_kind){.follows = follows}, &input, &err), STATUS_OK,
                 "%s", err.text);
    cr_assert_eq(line_source_new(input, follows, LONGEST, &source, &err), STATUS_OK);
    return source;
}

static struct line next(struct line_source *source)
{
    struct line line;
    struct err err = {0};
    cr_assert_eq(line_source_next(source, &line, &err), STATUS_OK, "%s", err.text);
    return line;
}

static void expect_line(struct line_source *source, const char *text, uint64_t offset,
                        uint64_t number)
{
    struct line line = next(source);
    cr_assert_eq(line.kind, LINE_WHOLE, "kind %d instead of '%s'", (int)line.kind, text);
    cr_assert_eq(line.bytes, strlen(text));
    cr_assert_eq(memcmp(line.text, text, line.bytes), 0, "%.*s", (int)line.bytes, line.text);
    cr_assert_eq(line.text[line.bytes], '\n');
    cr_assert_eq(line.offset, offset);
    cr_assert_eq(line.number, number);
}

static void expect_kind(struct line_source *source, enum line_kind kind)
{
    struct line line = next(source);
    cr_assert_eq(line.kind, kind, "kind %d instead of %d", (int)line.kind, (int)kind);
}

static void append_bytes(const char *bytes, size_t bytes_count)
{
    FILE *file = fopen(path, "ab");
    cr_assert_not_null(file);
    cr_assert_eq(fwrite(bytes, 1, bytes_count, file), bytes_count);
    cr_assert_eq(fclose(file), 0);
}

static void append(const char *text)
{
    append_bytes(text, strlen(text));
}

Test(result_line_source, whole_empty_and_torn_lines)
{
    append("one\n\nthree\r\nfou");
    struct line_source *source = open_lines(false);
    expect_line(source, "one", 0, 1);
    expect_line(source, "", 4, 2);
    expect_line(source, "three\r", 5, 3);
    struct line torn = next(source);
    cr_assert_eq(torn.kind, LINE_TORN);
    cr_assert_eq(torn.bytes, 3);
    cr_assert_eq(torn.offset, 12);
    cr_assert_eq(torn.number, 4);
    cr_assert_eq(memcmp(torn.text, "fou\n", 4), 0);
    /* What is written now would be the rest of a line that is given out. */
    append("r\nfive\n");
    expect_kind(source, LINE_END);
    expect_kind(source, LINE_END);
    line_source_free(source);
}

Test(result_line_source, an_empty_file_ends_at_once)
{
    append("");
    struct line_source *source = open_lines(false);
    expect_kind(source, LINE_END);
    line_source_free(source);
}

Test(result_line_source, lines_around_the_limit_and_the_chunk)
{
    static const size_t lengths[] = {LONGEST - 1, LONGEST,         LONGEST + 1,
                                     262144,      3 * 262144 + 17, LONGEST,
                                     262143 - 8,  2 * 262144 - 1,  1};
    char *text = malloc(1 << 20);
    memset(text, 'x', 1 << 20);
    for (size_t i = 0; i < ARRAY_COUNT(lengths); i++) {
        append_bytes(text, lengths[i]);
        append("\n");
    }
    append_bytes(text, 300000);
    free(text);
    struct line_source *source = open_lines(false);
    uint64_t offset = 0;
    for (size_t i = 0; i < ARRAY_COUNT(lengths); i++) {
        struct line line = next(source);
        cr_assert_eq(line.kind, lengths[i] > LONGEST ? LINE_TOO_LONG : LINE_WHOLE, "%zu", i);
        cr_assert_eq(line.text == NULL, lengths[i] > LONGEST);
        cr_assert_eq(line.bytes, lengths[i], "%zu: %zu", i, line.bytes);
        cr_assert_eq(line.offset, offset);
        cr_assert_eq(line.number, i + 1);
        offset += lengths[i] + 1;
    }
    struct line torn = next(source);
    cr_assert_eq(torn.kind, LINE_TORN);
    cr_assert_eq(torn.bytes, 300000);
    cr_assert_eq(torn.offset, offset);
    cr_assert_null(torn.text);
    expect_kind(source, LINE_END);
    line_source_free(source);
}

Test(result_line_source, a_growing_file_never_gives_a_half_line)
{
    static const char text[] = "first line\nsecond\n\nlast\n";
    append("");
    struct line_source *source = open_lines(true);
    expect_kind(source, LINE_WAITING);
    uint64_t start = 0;
    uint64_t number = 1;
    for (size_t i = 0; i < sizeof(text) - 1; i++) {
        append_bytes(&text[i], 1);
        if (text[i] != '\n') {
            expect_kind(source, LINE_WAITING);
            continue;
        }
        char expected[32];
        (void)snprintf(expected, sizeof(expected), "%.*s", (int)(i - start), text + start);
        expect_line(source, expected, start, number++);
        expect_kind(source, LINE_WAITING);
        start = i + 1;
    }
    line_source_free(source);
}

Test(result_line_source, a_half_line_that_is_cut_off_is_not_joined_with_the_next)
{
    append("one\ntwo, which its writer never ends");
    struct line_source *source = open_lines(true);
    expect_line(source, "one", 0, 1);
    expect_kind(source, LINE_WAITING);
    /* Repaired and shorter; as long; longer than what was there. */
    static const char *const others[] = {"2\n", "TWO, which its writer never ends\n",
                                         "two, of another writer, which comes to an end\n"};
    uint64_t offset = 4;
    for (size_t i = 0; i < ARRAY_COUNT(others); i++) {
        cr_assert_eq(truncate(path, (off_t)offset), 0);
        append(others[i]);
        char expected[64];
        (void)snprintf(expected, sizeof(expected), "%.*s", (int)strlen(others[i]) - 1, others[i]);
        expect_line(source, expected, offset, 2 + i);
        offset += strlen(others[i]);
        append("two, which its writer never ends");
        expect_kind(source, LINE_WAITING);
    }
    cr_assert_eq(truncate(path, (off_t)offset), 0);
    expect_kind(source, LINE_WAITING);
    append("end\n");
    expect_line(source, "end", offset, 5);
    line_source_free(source);
}

Test(result_line_source, an_emptied_file_starts_over)
{
    append("one\ntwo\n");
    struct line_source *source = open_lines(true);
    expect_line(source, "one", 0, 1);
    expect_line(source, "two", 4, 2);
    cr_assert_eq(truncate(path, 0), 0);
    append("new\n");
    expect_kind(source, LINE_RESTARTED);
    expect_line(source, "new", 0, 1);
    /* Emptied and grown past the place at hand before anyone looks. */
    cr_assert_eq(truncate(path, 0), 0);
    append("other\nlines\nthan before\n");
    expect_kind(source, LINE_RESTARTED);
    expect_line(source, "other", 0, 1);
    expect_line(source, "lines", 6, 2);
    expect_line(source, "than before", 12, 3);
    expect_kind(source, LINE_WAITING);
    line_source_free(source);
}

Test(result_line_source, a_first_half_line_that_is_repaired_is_no_new_start)
{
    append("one\ntw");
    struct line_source *source = open_lines(true);
    expect_line(source, "one", 0, 1);
    expect_kind(source, LINE_WAITING);
    cr_assert_eq(truncate(path, 4), 0);
    append("three\n");
    expect_line(source, "three", 4, 2);
    line_source_free(source);
}

Test(result_line_source, a_replaced_file_is_followed_by_its_name)
{
    char aside[FILE_PATH_BYTES];
    append("one\nha");
    struct line_source *source = open_lines(true);
    expect_line(source, "one", 0, 1);
    expect_kind(source, LINE_WAITING);
    cr_assert_eq(rename(path, scratch_path(aside, dir, "aside")), 0);
    expect_kind(source, LINE_WAITING);
    /* Its writer still has it open, and ends its line. */
    FILE *old = fopen(aside, "ab");
    cr_assert_not_null(old);
    cr_assert_eq(fputs("lf\nrest", old) >= 0, true);
    cr_assert_eq(fclose(old), 0);
    append("new one\n");
    expect_line(source, "half", 4, 2);
    struct line torn = next(source);
    cr_assert_eq(torn.kind, LINE_TORN);
    cr_assert_eq(torn.bytes, 4);
    cr_assert_eq(torn.offset, 9);
    expect_kind(source, LINE_RESTARTED);
    expect_line(source, "new one", 0, 1);
    expect_kind(source, LINE_WAITING);
    cr_assert_eq(unlink(path), 0);
    expect_kind(source, LINE_WAITING);
    line_source_free(source);
}

Test(result_line_source, a_long_line_that_is_cut_off_again)
{
    char *text = malloc(600000);
    memset(text, 'x', 600000);
    append("one\n");
    append_bytes(text, 600000);
    free(text);
    struct line_source *source = open_lines(true);
    expect_line(source, "one", 0, 1);
    expect_kind(source, LINE_WAITING);
    cr_assert_eq(truncate(path, 4), 0);
    append("two\n");
    expect_line(source, "two", 4, 2);
    line_source_free(source);
}

Test(result_line_source, a_file_may_come_later)
{
    char folder[FILE_PATH_BYTES];
    memcpy(folder, dir, sizeof(folder));
    memcpy(path, dir, sizeof(path));
    struct line_source *source = open_lines(true);
    expect_kind(source, LINE_WAITING);
    scratch_path(path, dir, "bench_results.jsonl");
    append("one\n");
    expect_line(source, "one", 0, 1);
    line_source_free(source);
}

Test(result_line_source, rows_of_csv_may_have_line_breaks)
{
    append("a,b\n1,\"x\ny\"\n\"say \"\"\n\"\"\",2\n3 \" 4,5\n\"open\n6,7\n");
    struct line_source *source = open_lines(false);
    expect_line(source, "a,b", 0, 1);
    line_source_set_csv(source, LONGEST);
    expect_line(source, "1,\"x\ny\"", 4, 2);
    expect_line(source, "\"say \"\"\n\"\"\",2", 12, 4);
    expect_line(source, "3 \" 4,5", 26, 6);
    struct line broken = next(source);
    cr_assert_eq(broken.kind, LINE_BROKEN);
    cr_assert_eq(broken.number, 7);
    expect_line(source, "6,7", 40, 8);
    expect_kind(source, LINE_END);
    line_source_free(source);
}

Test(result_line_source, a_quote_that_nothing_closes_takes_one_line_of_a_long_file)
{
    append("\"open\n");
    for (int i = 0; i < 1000; i++)
        append("1,2\n");
    struct line_source *source = open_lines(false);
    line_source_set_csv(source, LONGEST);
    expect_kind(source, LINE_BROKEN);
    for (uint64_t i = 0; i < 1000; i++)
        expect_line(source, "1,2", 6 + 4 * i, 2 + i);
    expect_kind(source, LINE_END);
    line_source_free(source);
}

Test(result_line_source, a_pipe_gives_lines_as_they_come)
{
    int ends[2];
    struct input *input = NULL;
    struct line_source *source = NULL;
    cr_assert_eq(pipe(ends), 0);
    cr_assert_eq(
        input_open_fd(ends[0], "a pipe", (struct input_kind){.follows = true}, &input, NULL),
        STATUS_OK);
    cr_assert_eq(line_source_new(input, true, LONGEST, &source, NULL), STATUS_OK);
    expect_kind(source, LINE_WAITING);
    cr_assert_eq(write(ends[1], "one\ntw", 6), 6);
    expect_line(source, "one", 0, 1);
    expect_kind(source, LINE_WAITING);
    cr_assert_eq(write(ends[1], "o\nthr", 5), 5);
    expect_line(source, "two", 4, 2);
    cr_assert_eq(close(ends[1]), 0);
    expect_kind(source, LINE_TORN);
    expect_kind(source, LINE_END);
    line_source_free(source);
    cr_assert_eq(close(ends[0]), 0);
}

Test(result_line_source, a_pipe_is_read_with_little_memory)
{
    int ends[2];
    struct input *input = NULL;
    struct line_source *source = NULL;
    cr_assert_eq(pipe(ends), 0);
    pid_t writer = fork();
    if (writer == 0) {
        char text[700];
        memset(text, 'y', sizeof(text));
        for (size_t i = 0; i < 20000; i++) {
            size_t bytes = 1 + random_at(3, i) % sizeof(text);
            text[bytes - 1] = '\n';
            if (write(ends[1], text, bytes) != (ssize_t)bytes)
                _exit(1);
            text[bytes - 1] = 'y';
        }
        _exit(0);
    }
    cr_assert_eq(close(ends[1]), 0);
    cr_assert_eq(input_open_fd(ends[0], "a pipe", (struct input_kind){0}, &input, NULL), STATUS_OK);
    cr_assert_eq(line_source_new(input, false, LONGEST, &source, NULL), STATUS_OK);
    for (size_t i = 0; i < 20000; i++) {
        struct line line = next(source);
        cr_assert_eq(line.kind, LINE_WHOLE);
        cr_assert_eq(line.bytes, random_at(3, i) % 700);
    }
    expect_kind(source, LINE_END);
    line_source_free(source);
    int state;
    cr_assert_eq(waitpid(writer, &state, 0), writer);
    cr_assert_eq(close(ends[0]), 0);
}

static void write_zip(const char *const *entries, const char *content, size_t bytes)
{
    zipFile zip = zipOpen64(path, APPEND_STATUS_CREATE);
    cr_assert_not_null(zip);
    for (; *entries != NULL; entries++) {
        zip_fileinfo info = {0};
        cr_assert_eq(
            zipOpenNewFileInZip64(zip, *entries, &info, NULL, 0, NULL, 0, NULL, Z_DEFLATED, 6, 0),
            ZIP_OK);
        cr_assert_eq(zipWriteInFileInZip(zip, content, (unsigned)bytes), ZIP_OK);
        cr_assert_eq(zipCloseFileInZip(zip), ZIP_OK);
    }
    cr_assert_eq(zipClose(zip, NULL), ZIP_OK);
}

/* Who opened it for reading and let go of it has taken it from the writer, whose next write ends
 * it.
 */
static void expect_never_left(int watch)
{
    char event[sizeof(struct inotify_event)];
    cr_assert_eq(read(watch, event, sizeof(event)), -1, "a reader has closed the pipe");
    cr_assert_eq(errno, EAGAIN);
}

Test(result_line_source, a_named_pipe_is_opened_once, .timeout = 20)
{
    cr_assert_eq(mkfifo(path, 0600), 0);
    int watch = inotify_init1(IN_NONBLOCK);
    cr_assert_geq(inotify_add_watch(watch, path, IN_CLOSE_NOWRITE), 0);
    struct input *input = NULL;
    struct input_kind beside = {.beside = "samples/a.jsonl"};
    cr_assert_eq(input_open(path, beside, &input, NULL), STATUS_NOT_FOUND);
    expect_never_left(watch);
    pid_t writer = fork();
    if (writer == 0) {
        int fd = open(path, O_WRONLY);
        _exit(write(fd, "one\n", 4) == 4 ? 0 : 1);
    }
    struct line_source *source = open_lines(false);
    expect_line(source, "one", 0, 1);
    expect_kind(source, LINE_END);
    expect_never_left(watch);
    line_source_free(source);
    int status = 0;
    cr_assert_eq(waitpid(writer, &status, 0), writer);
    cr_assert_eq(status, 0);
    cr_assert_eq(close(watch), 0);
}

Test(result_line_source, the_results_in_an_archive)
{
    write_zip((const char *const[]){"_bench/bench_results.csv", "_bench/bench_results.jsonl",
                                    "_bench/logs/bench_results.jsonl.log", NULL},
              "one\ntwo\nthr", 11);
    struct line_source *source = open_lines(false);
    expect_line(source, "one", 0, 1);
    expect_line(source, "two", 4, 2);
    expect_kind(source, LINE_TORN);
    expect_kind(source, LINE_END);
    line_source_free(source);
}

static enum status open_error(bool follows, struct err *err)
{
    struct input *input = NULL;
    enum status status = input_open(path, (struct input_kind){.follows = follows}, &input, err);
    if (status == STATUS_OK)
        input_close(input);
    return status;
}

Test(result_line_source, archives_that_have_no_one_file_of_results)
{
    struct err err = {0};
    write_zip((const char *const[]){"a/other.jsonl", NULL}, "x\n", 2);
    cr_assert_eq(open_error(false, &err), STATUS_NOT_FOUND);
    cr_assert_not_null(strstr(err.text, "bench_results.jsonl"), "%s", err.text);
    cr_assert_eq(unlink(path), 0);
    write_zip((const char *const[]){"a/bench_results.jsonl", "b/bench_results.jsonl", NULL}, "x\n",
              2);
    err = (struct err){0};
    cr_assert_eq(open_error(false, &err), STATUS_INVALID);
    cr_assert_not_null(strstr(err.text, "2 files"), "%s", err.text);
    err = (struct err){0};
    cr_assert_eq(open_error(true, &err), STATUS_INVALID, "it does not grow");
    /* Cut off: it has no list of its files. */
    cr_assert_eq(truncate(path, 60), 0);
    err = (struct err){0};
    cr_assert_eq(open_error(false, &err), STATUS_IO);
    cr_assert_not_null(strstr(err.text, "damaged"), "%s", err.text);
}

Test(result_line_source, a_damaged_archive_is_an_error_not_an_end)
{
    char *content = malloc(400000);
    for (size_t i = 0; i < 400000; i++)
        content[i] = i % 100 == 99 ? '\n' : (char)('a' + random_at(1, i) % 26);
    write_zip((const char *const[]){"a/bench_results.jsonl", NULL}, content, 400000);
    free(content);
    int fd = open(path, O_RDWR);
    cr_assert_eq(pwrite(fd, "\xFF\x00\xFF\x00", 4, 100000), 4);
    cr_assert_eq(close(fd), 0);
    struct line_source *source = open_lines(false);
    struct line line;
    struct err err = {0};
    enum status status;
    do {
        status = line_source_next(source, &line, &err);
    } while (status == STATUS_OK && line.kind != LINE_END && line.kind != LINE_TORN);
    cr_assert_eq(status, STATUS_IO);
    cr_assert_not_null(strstr(err.text, "damaged"), "%s", err.text);
    line_source_free(source);
}

Test(result_line_source, what_cannot_be_read_says_why)
{
    struct err err = {0};
    cr_assert_eq(open_error(false, &err), STATUS_NOT_FOUND);
    cr_assert_not_null(strstr(err.text, "lines"), "%s", err.text);
    memcpy(path, dir, sizeof(path));
    err = (struct err){0};
    cr_assert_eq(open_error(false, &err), STATUS_NOT_FOUND);
    cr_assert_not_null(strstr(err.text, "neither"), "%s", err.text);
    /* A pipe in a results folder must not hold a reader up. */
    char fifo[FILE_PATH_BYTES];
    cr_assert_eq(mkfifo(scratch_path(fifo, dir, "bench_results.jsonl"), 0600), 0);
    err = (struct err){0};
    cr_assert_eq(open_error(false, &err), STATUS_IO);
    cr_assert_not_null(strstr(err.text, "plain file"), "%s", err.text);
}
