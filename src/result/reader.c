#include "result/reader.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "result/csv_rows.h"
#include "result/input.h"
#include "result/line_source.h"
#include "result/parser.h"

enum format {
    FORMAT_UNKNOWN, /* no line has shown it yet */
    FORMAT_JSONL,
    FORMAT_CSV
};

struct reader {
    struct line_source *lines; /* owned */
    struct parser *parser;     /* owned */
    struct csv_rows *rows;     /* owned; NULL until there is a header */
    enum format format;
    bool is_jsonl;
    bool reads_rows_whole;
};

static enum status make_parts(struct reader *reader, struct input *input,
                              const struct reader_options *wanted, struct err *err)
{
    TRY(line_source_new(input, wanted->follows, RECORD_LINE_BYTES_MAX, &reader->lines, err));
    TRY(parser_new(wanted->fields, wanted->fields_count, &reader->parser, err));
    return csv_rows_new(&reader->rows, err);
}

static enum status open_input(struct input *input, const struct reader_options *options,
                              struct reader **ret_reader, struct err *err)
{
    static const struct reader_options all = {0};
    const struct reader_options *wanted = options != NULL ? options : &all;
    struct reader *reader = calloc(1, sizeof(*reader));
    if (reader == NULL) {
        input_close(input);
        return ERR(err, STATUS_NOMEM, "no memory to read results");
    }
    reader->is_jsonl = wanted->is_jsonl;
    reader->reads_rows_whole = wanted->reads_rows_whole;
    reader->format = wanted->is_jsonl ? FORMAT_JSONL : FORMAT_UNKNOWN;
    enum status status = make_parts(reader, input, wanted, err);
    if (status == STATUS_OK)
        *ret_reader = reader;
    else
        reader_close(reader);
    return status;
}

static struct input_kind kind_of(const struct reader_options *options)
{
    return options != NULL ? (struct input_kind){options->follows, options->is_jsonl, NULL}
                           : (struct input_kind){0};
}

enum status reader_open(const char *path, const struct reader_options *options,
                        struct reader **ret_reader, struct err *err)
{
    struct input *input = NULL;
    enum status status = input_open(path, kind_of(options), &input, err);
    return status == STATUS_OK ? open_input(input, options, ret_reader, err) : status;
}

enum status reader_open_fd(int fd, const char *name, const struct reader_options *options,
                           struct reader **ret_reader, struct err *err)
{
    struct input *input = NULL;
    enum status status = input_open_fd(fd, name, kind_of(options), &input, err);
    return status == STATUS_OK ? open_input(input, options, ret_reader, err) : status;
}

enum status reader_open_source(const char *source, const struct reader_options *options,
                               struct reader **ret_reader, struct err *err)
{
    return strcmp(source, "-") == 0
               ? reader_open_fd(STDIN_FILENO, "standard input", options, ret_reader, err)
               : reader_open(source, options, ret_reader, err);
}

void reader_close(struct reader *reader)
{
    if (reader == NULL)
        return;
    line_source_free(reader->lines);
    parser_free(reader->parser);
    csv_rows_free(reader->rows);
    free(reader);
}

const char *reader_name(const struct reader *reader)
{
    return line_source_name(reader->lines);
}

/* --- what kind of file it is --- */

/* Some writers begin a text with the mark of its encoding. */
static void drop_mark(struct line *line)
{
    if (line->bytes >= 3 && memcmp(line->text, "\xEF\xBB\xBF", 3) == 0) {
        line->text += 3;
        line->bytes -= 3;
    }
}

/* What a file that is no text begins with, and what to do with it. */
static enum status refuse_other_files(const struct reader *reader, const struct line *line,
                                      struct err *err)
{
    static const struct {
        const char *start;
        const char *advice;
    } kinds[] = {
        {"\xFF\xFE", "it is UTF-16 text; convert it first: iconv -f UTF-16 -t UTF-8"},
        {"\xFE\xFF", "it is UTF-16 text; convert it first: iconv -f UTF-16 -t UTF-8"},
        {"\x1F\x8B", "it is compressed; unpack it first: gzip -dc"},
        {"(\xB5/\xFD", "it is compressed; unpack it first: zstd -dc"},
        {"PK\3\4", "an archive cannot be read from a pipe; name the file"},
    };
    for (size_t i = 0; line->offset == 0 && !reader->is_jsonl && i < ARRAY_COUNT(kinds); i++) {
        size_t bytes = strlen(kinds[i].start);
        if (line->bytes >= bytes && memcmp(line->text, kinds[i].start, bytes) == 0)
            return ERR(err, STATUS_INVALID, "cannot read '%s': %s", reader_name(reader),
                       kinds[i].advice);
    }
    return STATUS_OK;
}

/* *ret_is_taken: the line was the header of a CSV file. */
static void learn_format(struct reader *reader, const struct line *line, bool *ret_is_taken)
{
    const char *at = line->text;
    const char *end = at + line->bytes;
    while (at < end && (*at == ' ' || *at == '\t'))
        at++;
    *ret_is_taken = false;
    if (at < end && *at == '{') {
        reader->format = FORMAT_JSONL;
    } else if (csv_rows_take_header(reader->rows, line->text, line->bytes)) {
        reader->format = FORMAT_CSV;
        line_source_set_csv(reader->lines, RECORD_ROW_BYTES_MAX);
        if (reader->reads_rows_whole)
            parser_want_all(reader->parser);
        *ret_is_taken = true;
    }
}

/* --- one line --- */

static void fill_note(struct reader_item *item, enum reader_kind kind, const char *why)
{
    item->kind = kind;
    item->why = why;
}

static void fill_outcome(const struct reader *reader, enum parser_outcome outcome,
                         const struct line *line, struct reader_item *item)
{
    switch (outcome) {
    case PARSER_RECORD:
    case PARSER_PUBLISHED:
        fill_note(item, READER_RECORD, "");
        item->record = parser_record(reader->parser);
        item->is_published = outcome == PARSER_PUBLISHED;
        item->text = reader->format == FORMAT_CSV ? NULL : line->text;
        item->text_bytes = item->text != NULL ? line->bytes : 0;
        break;
    case PARSER_LATER: fill_note(item, READER_LATER, parser_why(reader->parser)); break;
    case PARSER_FOREIGN: fill_note(item, READER_FOREIGN, parser_why(reader->parser)); break;
    }
}

/* *ret_is_taken: it was a header, which is nothing to tell of. */
static enum status take_whole(struct reader *reader, struct line *line, struct reader_item *item,
                              bool *ret_is_taken, struct err *err)
{
    enum status status = refuse_other_files(reader, line, err);
    if (status != STATUS_OK)
        return status;
    drop_mark(line);
    if (reader->format == FORMAT_UNKNOWN) {
        learn_format(reader, line, ret_is_taken);
        if (*ret_is_taken)
            return STATUS_OK;
    }
    enum parser_outcome outcome = PARSER_FOREIGN;
    status = reader->format == FORMAT_CSV
                 ? csv_rows_take(reader->rows, line->text, line->bytes, reader->parser,
                                 ret_is_taken, &outcome, err)
                 : parser_take_line(reader->parser, line->text, line->bytes, &outcome, err);
    if (status == STATUS_OK && !*ret_is_taken)
        fill_outcome(reader, outcome, line, item);
    return status;
}

static enum status take_torn(struct reader *reader, struct line *line, struct reader_item *item,
                             struct err *err)
{
    fill_note(item, READER_TORN, "the file ends inside of this line");
    if (line->text == NULL)
        return STATUS_OK;
    enum status status = refuse_other_files(reader, line, err);
    drop_mark(line);
    if (status != STATUS_OK || reader->format == FORMAT_CSV ||
        !parser_is_whole_foreign(reader->parser, line->text, line->bytes))
        return status;
    enum parser_outcome outcome = PARSER_FOREIGN;
    status = parser_take_line(reader->parser, line->text, line->bytes, &outcome, err);
    if (status == STATUS_OK)
        fill_outcome(reader, outcome, line, item);
    item->is_unended = true;
    return status;
}

static enum status take_line(struct reader *reader, struct line *line, struct reader_item *item,
                             bool *ret_is_taken, struct err *err)
{
    *item = (struct reader_item){
        .why = "", .offset = line->offset, .line = line->number, .bytes = line->bytes};
    switch (line->kind) {
    case LINE_WHOLE: return take_whole(reader, line, item, ret_is_taken, err);
    case LINE_TORN: return take_torn(reader, line, item, err);
    case LINE_TOO_LONG:
        fill_note(item, READER_TOO_LONG, "it is longer than a record can be");
        break;
    case LINE_BROKEN:
        fill_note(item, READER_FOREIGN, "it opens a quote that nothing closes");
        break;
    case LINE_RESTARTED:
        /* It may be of another format now. */
        reader->format = reader->is_jsonl ? FORMAT_JSONL : FORMAT_UNKNOWN;
        line_source_set_lines(reader->lines, RECORD_LINE_BYTES_MAX);
        fill_note(item, READER_RESTARTED, "the file was emptied or replaced");
        break;
    case LINE_WAITING: item->kind = READER_WAITING; break;
    case LINE_END: item->kind = READER_END; break;
    }
    return STATUS_OK;
}

enum status reader_next(struct reader *reader, struct reader_item *ret_item, struct err *err)
{
    for (;;) {
        struct line line;
        bool is_taken = false;
        enum status status = line_source_next(reader->lines, &line, err);
        if (status == STATUS_OK)
            status = take_line(reader, &line, ret_item, &is_taken, err);
        if (status != STATUS_OK || !is_taken)
            return status;
    }
}

static void append_published(const struct record *record, struct buf *out)
{
    struct json_writer writer;
    json_writer_init(&writer, out);
    json_begin_object(&writer);
    for (enum fact_id id = 0; id < PARSER_PUBLISHED_COUNT; id++) {
        json_put_key(&writer, fact_of(id)->name);
        record_put_value(record, id, &writer);
    }
    json_end_object(&writer);
    buf_append_char(out, '\n');
}

void reader_append_line(const struct reader_item *item, struct buf *out)
{
    size_t bytes = item->text_bytes;
    while (bytes > 0 && item->text[bytes - 1] == '\r')
        bytes--;
    if (item->text == NULL && item->is_published) {
        append_published(item->record, out);
    } else if (item->text == NULL) {
        record_format_json(item->record, out);
    } else {
        buf_append(out, item->text, bytes);
        buf_append_char(out, '\n');
    }
}
