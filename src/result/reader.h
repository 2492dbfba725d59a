/* result/reader.h - the one reader of results: records of a folder, file, archive or pipe, one
 * after the other, without the folder's lock and while it may still be written.
 *
 * It reads lines of JSON and CSV: ours of this schema and earlier ones, and those of the published
 * scripts, whose records have fifteen fields; every other field is then null, "not_recorded".
 * What is no record comes as a note that says where it is and why, so nothing is passed over in
 * silence. A record is there when its '\n' is: a half one is never given out.
 * It holds a line and a chunk, whatever the length of what it reads.
 */
#ifndef RESULT_READER_H
#define RESULT_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "result/record.h"

enum reader_kind {
    READER_RECORD,
    READER_FOREIGN,   /* a line that is no record */
    READER_LATER,     /* a record of a later schema */
    READER_TOO_LONG,  /* a line over RECORD_LINE_BYTES_MAX, or a row over RECORD_ROW_BYTES_MAX */
    READER_TORN,      /* the end, without its '\n': a write that is not finished, or never was */
    READER_RESTARTED, /* the followed file was emptied or replaced: what comes now is its start */
    READER_WAITING,   /* `follows`: there is no more yet; ask again later */
    READER_END        /* stays so */
};

struct reader_item {
    enum reader_kind kind;
    const struct record *record; /* borrowed: until the next call; NULL but for READER_RECORD */
    const char *why;   /* what is wrong with the line, for people; "" = nothing. Borrowed */
    bool is_published; /* a record of the published scripts: it has no schema */
    bool is_unended;   /* whole, but the file ends without its '\n' */
    uint64_t offset;   /* of the line in the file, or in the archive's entry */
    uint64_t line;     /* its number, from 1; of a row the first of its lines */
    size_t bytes;      /* without its '\n' */
    /* A record's line of JSON as it stands, without its '\n'; NULL where it is a row of CSV, or no
     * record. Borrowed: until the next call. */
    const char *text;
    size_t text_bytes;
};

struct reader_options {
    /* The fields that will be looked at; others are null, "not_read". NULL = all. Whether a line is
     * a record does not depend on them. Borrowed for reader_open(). */
    const enum fact_id *fields;
    size_t fields_count;
    bool reads_rows_whole; /* `fields` is meant for lines of JSON: rows of CSV are read whole */
    bool follows;          /* goes on when there is more, and by name when the file is replaced */
    bool is_jsonl;         /* it is lines of JSON, whatever it looks like: no archive, no CSV */
};

struct reader; /* opaque */

/* `path`: a results folder, a JSONL or CSV file, an archive of `--zip`, a named pipe. With
 * `follows` a folder's file may come later. NULL options: all fields, to the end. */
MUST_CHECK enum status reader_open(const char *path, const struct reader_options *options,
                                   struct reader **ret_reader, struct err *err);
/* `fd` is borrowed: for the reader's life, and read from the start if it is a file. `name` is for
 * errors. */
MUST_CHECK enum status reader_open_fd(int fd, const char *name,
                                      const struct reader_options *options,
                                      struct reader **ret_reader, struct err *err);
/* `source` as commands take it: "-" is standard input, anything else a path of reader_open(). */
MUST_CHECK enum status reader_open_source(const char *source, const struct reader_options *options,
                                          struct reader **ret_reader, struct err *err);
void reader_close(struct reader *reader);
/* The file that is read: a path. Borrowed. */
const char *reader_name(const struct reader *reader);

/* An error ends it: what is read cannot be read any further, is no text, or memory ends. */
MUST_CHECK enum status reader_next(struct reader *reader, struct reader_item *ret_item,
                                   struct err *err);
/* A record as a line of JSON with its '\n': as it stands where it was one. A row of CSV must have
 * been read whole. */
void reader_append_line(const struct reader_item *item, struct buf *out);

#endif
