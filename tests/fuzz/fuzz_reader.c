/* Any bytes as a results file, JSONL or CSV: whatever comes out is a record that survives being
 * written and read again; a reader that wants a few fields and one that wants all agree on every
 * item; what comes through a pipe is what comes from a file. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "result/parser.h"
#include "result/reader.h"

#define OUT_BYTES_MAX  (16U << 20)
#define PIPE_BYTES_MAX 65536U

static const enum fact_id few[] = {FACT_MODE, FACT_MS_P50, FACT_ENVIRONMENT, FACT_SEED};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct reader *open_fd(int fd, bool is_few)
{
    const struct reader_options options = {.fields = is_few ? few : NULL,
                                           .fields_count = ARRAY_COUNT(few)};
    struct reader *reader = NULL;
    return reader_open_fd(fd, "the input", &options, &reader, NULL) == STATUS_OK ? reader : NULL;
}

/* Written, read again and written again: the same. */
static void check_round_trip(const struct record *record, bool is_published)
{
    struct buf first;
    struct buf second;
    struct parser *parser = NULL;
    enum parser_outcome outcome;
    ASSERT(parser_new(NULL, 0, &parser, NULL) == STATUS_OK);
    buf_init(&first, OUT_BYTES_MAX);
    buf_init(&second, OUT_BYTES_MAX);
    record_format_json(record, &first);
    ASSERT(!first.failed &&
           memchr(first.data, '\n', first.length_bytes) == first.data + first.length_bytes - 1);
    size_t line_bytes = first.length_bytes - 1;
    for (int i = 0; i < SCAN_PADDING_BYTES; i++)
        buf_append_char(&first, '\n');
    ASSERT(parser_take_line(parser, first.data, line_bytes, &outcome, NULL) == STATUS_OK);
    ASSERT(outcome == (is_published ? PARSER_PUBLISHED : PARSER_RECORD));
    record_format_json(parser_record(parser), &second);
    ASSERT(second.length_bytes == line_bytes + 1 &&
           memcmp(first.data, second.data, second.length_bytes) == 0);
    buf_reset(&first);
    buf_reset(&second);
    record_format_csv(record, &first);
    record_format_csv(parser_record(parser), &second);
    ASSERT(!first.failed && strcmp(first.data, second.data) == 0);
    parser_free(parser);
    buf_release(&first);
    buf_release(&second);
}

static void check_fields(const struct record *all, const struct record *some)
{
    for (size_t i = 0; i < ARRAY_COUNT(few); i++) {
        ASSERT(record_is_null(all, few[i]) == record_is_null(some, few[i]));
        ASSERT(strcmp(record_null_reason(all, few[i]), record_null_reason(some, few[i])) == 0);
        ASSERT(strcmp(record_string(all, few[i]), record_string(some, few[i])) == 0);
        ASSERT(record_u64(all, few[i]) == record_u64(some, few[i]));
    }
}

static void compare(int fd, int other_fd, bool is_few)
{
    struct reader *one = open_fd(fd, false);
    struct reader *two = open_fd(other_fd, is_few);
    struct reader_item left = {0};
    struct reader_item right = {0};
    ASSERT((one == NULL) == (two == NULL));
    uint64_t offset = 0;
    while (one != NULL && left.kind != READER_END) {
        struct err err = {0};
        enum status status = reader_next(one, &left, &err);
        ASSERT(reader_next(two, &right, NULL) == status);
        if (status != STATUS_OK) {
            ASSERT(err.text[0] != '\0');
            break;
        }
        ASSERT(left.kind == right.kind && left.offset == right.offset && left.line == right.line);
        ASSERT(left.bytes == right.bytes && left.offset >= offset);
        ASSERT((left.kind == READER_RECORD || left.kind == READER_END) == (left.why[0] == '\0'));
        offset = left.offset;
        if (left.kind != READER_RECORD)
            continue;
        check_fields(left.record, right.record);
        check_round_trip(left.record, left.is_published);
    }
    reader_close(one);
    reader_close(two);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int fd = memfd_create("input", MFD_CLOEXEC);
    int ends[2];
    ASSERT(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    compare(fd, fd, true);
    bool is_archive = size >= 4 && memcmp(data, "PK\3\4", 4) == 0;
    if (size < PIPE_BYTES_MAX && !is_archive) {
        ASSERT(pipe(ends) == 0 && write(ends[1], data, size) == (ssize_t)size);
        (void)close(ends[1]);
        compare(fd, ends[0], false);
        (void)close(ends[0]);
    }
    (void)close(fd);
    return 0;
}
