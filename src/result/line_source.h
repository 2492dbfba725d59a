/* result/line_source.h - the lines of an input, one after the other, while it may still be written.
 *
 * A line is there when its '\n' is: what follows the last '\n' is never given out as a line. It is
 * not lost either: a followed file is read again from where that line begins, so it comes whole
 * when its end is there, also when another writer has cut it off and put another line in its place.
 * No more than a line and a chunk is held, whatever the input's length.
 */
#ifndef RESULT_LINE_SOURCE_H
#define RESULT_LINE_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "result/input.h"

enum line_kind {
    LINE_WHOLE,
    LINE_TOO_LONG,
    LINE_BROKEN,    /* of a CSV file: it opens a quote that nothing closes */
    LINE_TORN,      /* the end of the input, without its '\n' */
    LINE_RESTARTED, /* the followed file was emptied or replaced: what comes now is its start */
    LINE_WAITING,   /* there is no further line yet (`follows`); ask again later */
    LINE_END
};

struct line {
    enum line_kind kind;
    /* Without its '\n', with SCAN_PADDING_BYTES behind it that begin with '\n'. NULL but for
     * LINE_WHOLE, and LINE_TORN that is not too long. Borrowed: until the next call. */
    const char *text;
    size_t bytes; /* of a line too long: what it has of them without its '\n' */
    uint64_t
        offset; /* of its first byte in the input; of END and WAITING where the next would be */
    uint64_t number; /* of the line, from 1 */
};

struct line_source; /* opaque */

/* Takes the input over, also when it fails. A line is too long with more than `line_bytes_max`. */
MUST_CHECK enum status line_source_new(struct input *input, bool follows, size_t line_bytes_max,
                                       struct line_source **ret_source, struct err *err);
void line_source_free(struct line_source *source);
const char *line_source_name(const struct line_source *source);

/* From now on lines are rows: a '\n' between the quotes of a CSV field ends none, and one may be so
 * long. And back to plain lines. */
void line_source_set_csv(struct line_source *source, size_t row_bytes_max);
void line_source_set_lines(struct line_source *source, size_t line_bytes_max);

/* An error is the input's own: it cannot be read, or memory ends. */
MUST_CHECK enum status line_source_next(struct line_source *source, struct line *ret_line,
                                        struct err *err);

#endif
