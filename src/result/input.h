/* result/input.h - where the bytes of a results file come from: a file that may still grow, a pipe,
 * or the results inside of an archive that `--zip` made. Takes no lock and never writes.
 */
#ifndef RESULT_INPUT_H
#define RESULT_INPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

struct input; /* opaque */

struct input_kind {
    bool follows;  /* it may grow, and a file may not be there yet; an archive is refused */
    bool is_plain; /* an archive is bytes like any other file */
    /* Not the results but a file beside them, such as "samples/x.jsonl", in the same folder or
     * archive. NULL: the results. Borrowed: for the call. */
    const char *beside;
};

/* `path`: a file, a named pipe, a zip archive, or a results folder, which stands for its
 * bench_results.jsonl, or its bench_results.csv where it has only that. */
MUST_CHECK enum status input_open(const char *path, struct input_kind kind,
                                  struct input **ret_input, struct err *err);
/* `fd` is borrowed: for the input's life; a file is read from its start, whatever its position.
 * `name` is for errors, borrowed too. */
MUST_CHECK enum status input_open_fd(int fd, const char *name, struct input_kind kind,
                                     struct input **ret_input, struct err *err);
void input_close(struct input *input);

/* What the bytes come from, for errors and notes: a path. Borrowed. */
const char *input_name(const struct input *input);
/* Can any place be read again? Else `offset` of input_read() must be where the last read ended. */
bool input_is_seekable(const struct input *input);

/* Reads up to `bytes_max` bytes at `offset`; *ret_bytes = 0: there are no more, now. When it
 * follows a pipe, this does not wait for the other side. */
MUST_CHECK enum status input_read(struct input *input, uint64_t offset, void *bytes,
                                  size_t bytes_max, size_t *ret_bytes, struct err *err);
/* For a pipe that is followed: has the other side ended it? */
bool input_is_ended(const struct input *input);

/* What has become of a followed file that has no more bytes at `offset`. */
enum input_change {
    INPUT_SAME,
    INPUT_CUT,     /* it has become shorter than that */
    INPUT_REPLACED /* its name stands for another file now: input_follow_name() goes there */
};
enum input_change input_look(const struct input *input, uint64_t offset);
/* Does the file begin with these bytes? One that was emptied and written again does not. True for
 * what is not seekable. */
bool input_has_start(const struct input *input, const char *start, size_t start_bytes);
/* Opens the file that the name stands for now, in place of the one before. */
MUST_CHECK enum status input_follow_name(struct input *input, bool *ret_is_there, struct err *err);

#endif
