#include "result/line_source.h"

#include <stdlib.h>
#include <string.h>

#include "result/scan.h"

#define CHUNK_BYTES ((size_t)256 * 1024)
#define START_BYTES 1024U

struct line_source {
    struct input *input; /* owned */
    bool follows;
    bool is_csv;
    bool is_ended;
    bool is_skipping;   /* inside of a line that is too long */
    bool is_switch_due; /* another file has the name; this one is read once more before */
    size_t line_bytes_max;
    char *bytes; /* owned */
    size_t capacity_bytes;
    size_t begin, end;   /* what is held and not given out yet: bytes[begin..end-1] */
    uint64_t offset;     /* of bytes[begin] */
    uint64_t number;     /* of the line there */
    uint64_t line_start; /* of the line that is skipped */
    size_t wanted_bytes; /* for the next reading of a file */
    size_t start_bytes;
    char start[START_BYTES]; /* of the file, of lines that were given out */
};

enum status line_source_new(struct input *input, bool follows, size_t line_bytes_max,
                            struct line_source **ret_source, struct err *err)
{
    struct line_source *source = calloc(1, sizeof(*source));
    char *bytes = malloc(CHUNK_BYTES + SCAN_PADDING_BYTES);
    if (source == NULL || bytes == NULL) {
        free(source);
        free(bytes);
        input_close(input);
        return ERR(err, STATUS_NOMEM, "no memory to read lines");
    }
    /* What is behind the end is looked at, though nothing follows from it. */
    memset(bytes, 0, CHUNK_BYTES + SCAN_PADDING_BYTES);
    *source = (struct line_source){.input = input,
                                   .follows = follows,
                                   .line_bytes_max = line_bytes_max,
                                   .bytes = bytes,
                                   .capacity_bytes = CHUNK_BYTES,
                                   .number = 1,
                                   .wanted_bytes = CHUNK_BYTES};
    *ret_source = source;
    return STATUS_OK;
}

void line_source_free(struct line_source *source)
{
    if (source == NULL)
        return;
    input_close(source->input);
    free(source->bytes);
    free(source);
}

const char *line_source_name(const struct line_source *source)
{
    return input_name(source->input);
}

void line_source_set_csv(struct line_source *source, size_t row_bytes_max)
{
    source->is_csv = true;
    source->line_bytes_max = row_bytes_max;
}

void line_source_set_lines(struct line_source *source, size_t line_bytes_max)
{
    source->is_csv = false;
    source->line_bytes_max = line_bytes_max;
}

/* --- finding the end of a line --- */

/* The '\n' that ends the row, or NULL. A quote opens a field only at its start (RFC 4180). */
static const char *find_row_end(const char *at, const char *end)
{
    bool is_field_start = true;
    bool is_quoted = false;
    for (; at < end; at++) {
        if (is_quoted) {
            is_quoted = *at != '"'; /* of a doubled quote the second opens it again */
            is_field_start = !is_quoted;
        } else if (*at == '\n') {
            return at;
        } else {
            is_quoted = *at == '"' && is_field_start;
            is_field_start = *at == ',';
        }
    }
    return NULL;
}

static const char *find_line_end(const struct line_source *source)
{
    const char *at = source->bytes + source->begin;
    size_t bytes = source->end - source->begin;
    if (source->is_csv && !source->is_skipping)
        return find_row_end(at, at + bytes);
    return memchr(at, '\n', bytes);
}

/* A quote that nothing closes would take all rows behind it for one field: where a row does not end
 * within its limit, or the input, only its first line is given up. */
static const char *find_broken_row_end(const struct line_source *source)
{
    bool is_row = source->is_csv && !source->is_skipping;
    return is_row ? memchr(source->bytes + source->begin, '\n', source->end - source->begin) : NULL;
}

static uint64_t count_lines(const char *text, size_t bytes)
{
    uint64_t count = 0;
    const char *end = text + bytes;
    for (const char *at = text; (at = memchr(at, '\n', (size_t)(end - at))) != NULL; at++)
        count++;
    return count;
}

/* Keeps what the file begins with. */
static void keep_start(struct line_source *source, const char *text, size_t bytes)
{
    if (source->offset != source->start_bytes || source->start_bytes == START_BYTES)
        return;
    size_t room = START_BYTES - source->start_bytes;
    size_t kept = bytes < room ? bytes : room;
    memcpy(source->start + source->start_bytes, text, kept);
    source->start_bytes += kept;
}

/* Goes past the line that ends at `newline` and says what it was. */
static struct line take_line(struct line_source *source, const char *newline, bool is_broken)
{
    const char *text = source->bytes + source->begin;
    size_t bytes = (size_t)(newline - text);
    struct line line = {LINE_WHOLE, text, bytes, source->offset, source->number};
    if (source->is_skipping || is_broken || bytes > source->line_bytes_max) {
        line.kind = is_broken ? LINE_BROKEN : LINE_TOO_LONG;
        line.text = NULL;
    }
    keep_start(source, text, bytes + 1);
    if (source->is_skipping) {
        line.offset = source->line_start;
        line.bytes = (size_t)(source->offset - source->line_start) + bytes;
        source->is_skipping = false;
    }
    source->begin += bytes + 1;
    source->offset += bytes + 1;
    source->number += source->is_csv && line.text != NULL ? 1 + count_lines(text, bytes) : 1;
    return line;
}

/* --- reading --- */

static enum status grow(struct line_source *source, size_t capacity, struct err *err)
{
    if (capacity <= source->capacity_bytes)
        return STATUS_OK;
    char *bytes = realloc(source->bytes, capacity + SCAN_PADDING_BYTES);
    if (bytes == NULL)
        return ERR(err, STATUS_NOMEM, "no memory for a line of %zu bytes", capacity);
    memset(bytes + source->capacity_bytes, 0,
           capacity + SCAN_PADDING_BYTES - source->capacity_bytes);
    source->bytes = bytes;
    source->capacity_bytes = capacity;
    return STATUS_OK;
}

/* A line that is longer than what is held cannot be kept: only its end is looked for. */
static void skip(struct line_source *source)
{
    if (!source->is_skipping)
        source->line_start = source->offset;
    source->is_skipping = true;
    source->offset += source->end - source->begin;
    source->begin = source->end = 0;
}

/* Reads a file again from the start of the line at hand, so that a line never comes from two
 * readings: between them it may have been cut off and another written in its place. */
static enum status read_file(struct line_source *source, bool *ret_is_more, struct err *err)
{
    size_t had = source->end - source->begin;
    size_t got = 0;
    if (had == source->wanted_bytes) {
        size_t most = source->line_bytes_max + CHUNK_BYTES;
        source->wanted_bytes = 2 * had < most ? 2 * had : most;
    }
    enum status status = grow(source, source->wanted_bytes, err);
    if (status == STATUS_OK)
        status = input_read(source->input, source->offset, source->bytes, source->wanted_bytes,
                            &got, err);
    if (status != STATUS_OK)
        return status;
    source->begin = 0;
    source->end = got;
    *ret_is_more = got > had;
    return STATUS_OK;
}

static enum status read_stream(struct line_source *source, bool *ret_is_more, struct err *err)
{
    size_t had = source->end - source->begin;
    size_t got = 0;
    memmove(source->bytes, source->bytes + source->begin, had);
    source->begin = 0;
    source->end = had;
    enum status status = grow(source, had + CHUNK_BYTES, err);
    if (status == STATUS_OK)
        status = input_read(source->input, source->offset + had, source->bytes + had, CHUNK_BYTES,
                            &got, err);
    source->end += got;
    *ret_is_more = got > 0;
    return status;
}

static enum status read_more(struct line_source *source, bool *ret_is_more, struct err *err)
{
    if (source->is_skipping || source->end - source->begin > source->line_bytes_max)
        skip(source);
    return input_is_seekable(source->input) ? read_file(source, ret_is_more, err)
                                            : read_stream(source, ret_is_more, err);
}

/* --- at the end of what is there --- */

/* *ret_is_again: nothing was given out yet, so nobody needs to know. */
static void start_over(struct line_source *source, struct line *ret_line, bool *ret_is_again)
{
    *ret_is_again = source->offset == 0;
    source->begin = source->end = 0;
    source->offset = 0;
    source->number = 1;
    source->is_skipping = false;
    source->is_switch_due = false;
    source->wanted_bytes = CHUNK_BYTES;
    source->start_bytes = 0;
    *ret_line = (struct line){.kind = LINE_RESTARTED, .number = 1};
}

static bool has_rest(const struct line_source *source)
{
    return source->is_skipping || source->end > source->begin;
}

/* What is left without its '\n'. */
static void take_rest(struct line_source *source, struct line *ret_line)
{
    size_t bytes = source->end - source->begin;
    char *text = source->bytes + source->begin;
    text[bytes] = '\n';
    struct line line = {LINE_TORN, text, bytes, source->offset, source->number};
    if (source->is_skipping || bytes > source->line_bytes_max)
        line.text = NULL;
    if (source->is_skipping) {
        line.offset = source->line_start;
        line.bytes += (size_t)(source->offset - source->line_start);
    }
    source->offset += bytes;
    source->begin = source->end;
    source->is_skipping = false;
    *ret_line = line;
}

/* A followed file has no more bytes: has it become another? *ret_is_again: read on. */
static enum status look_again(struct line_source *source, struct line *ret_line, bool *ret_is_again,
                              struct err *err)
{
    enum input_change change = input_look(source->input, source->offset);
    *ret_line =
        (struct line){.kind = LINE_WAITING, .offset = source->offset, .number = source->number};
    if (change == INPUT_SAME) {
        source->is_switch_due = false;
    } else if (change == INPUT_CUT && source->is_skipping) {
        /* Perhaps only the long line is gone. */
        source->is_skipping = false;
        source->offset = source->line_start;
        *ret_is_again = true;
    } else if (change == INPUT_CUT) {
        start_over(source, ret_line, ret_is_again);
    } else if (!source->is_switch_due) {
        /* Its writer may have ended a line between our reading and our looking. */
        source->is_switch_due = true;
        *ret_is_again = true;
    } else if (has_rest(source)) {
        take_rest(source, ret_line);
    } else {
        bool is_there = false;
        enum status status = input_follow_name(source->input, &is_there, err);
        if (status == STATUS_OK && is_there)
            start_over(source, ret_line, ret_is_again);
        return status;
    }
    return STATUS_OK;
}

static enum status take_end(struct line_source *source, struct line *ret_line, bool *ret_is_again,
                            struct err *err)
{
    if (source->follows && !input_is_ended(source->input))
        return look_again(source, ret_line, ret_is_again, err);
    const char *newline = find_broken_row_end(source);
    if (newline != NULL) {
        *ret_line = take_line(source, newline, true);
        return STATUS_OK;
    }
    /* What is written from now on would be the rest of what is given out now. */
    source->is_ended = true;
    if (has_rest(source))
        take_rest(source, ret_line);
    else
        *ret_line =
            (struct line){.kind = LINE_END, .offset = source->offset, .number = source->number};
    return STATUS_OK;
}

/* Reads on where no line ends in what is held. *ret_is_again: look for one again. */
static enum status advance(struct line_source *source, struct line *ret_line, bool *ret_is_again,
                           struct err *err)
{
    if (source->end - source->begin > source->line_bytes_max) {
        const char *newline = find_broken_row_end(source);
        if (newline != NULL) {
            *ret_line = take_line(source, newline, true);
            return STATUS_OK;
        }
    }
    bool is_more = false;
    enum status status = read_more(source, &is_more, err);
    if (status != STATUS_OK)
        return status;
    if (is_more && source->follows && source->start_bytes > 0 &&
        !input_has_start(source->input, source->start, source->start_bytes)) {
        start_over(source, ret_line, ret_is_again);
        return STATUS_OK;
    }
    *ret_is_again = is_more || find_line_end(source) != NULL;
    return *ret_is_again ? STATUS_OK : take_end(source, ret_line, ret_is_again, err);
}

enum status line_source_next(struct line_source *source, struct line *ret_line, struct err *err)
{
    *ret_line = (struct line){.kind = LINE_END, .offset = source->offset, .number = source->number};
    bool is_again = !source->is_ended;
    while (is_again) {
        const char *newline = find_line_end(source);
        if (newline != NULL) {
            *ret_line = take_line(source, newline, false);
            return STATUS_OK;
        }
        is_again = false;
        enum status status = advance(source, ret_line, &is_again, err);
        if (status != STATUS_OK)
            return status;
    }
    return STATUS_OK;
}
