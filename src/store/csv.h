/* store/csv.h - the CSV file, which is made from the JSONL file and never read for its data. */
#ifndef STORE_CSV_H
#define STORE_CSV_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/status.h"
#include "result/record.h"

enum csv_kind {
    CSV_MISSING,
    CSV_OURS,   /* begins with our header, or with that of an earlier version; or is empty */
    CSV_FOREIGN /* somebody else's: to be moved aside, never overwritten */
};

/* Compares a CSV file with what should be in it, row by row. */
struct csv_check {
    int fd;                  /* -1: there is no file, nothing matches */
    uint64_t file_bytes;     /* as it was on opening */
    uint64_t expected_bytes; /* of all rows so far, header included */
    bool is_equal;           /* so far */
    struct buf row;          /* scratch */
};

/* Opens the file, says what it is, and compares the header. Anything but a plain file is
 * STATUS_IO. */
MUST_CHECK enum status csv_check_open(struct csv_check *check, const char *path,
                                      enum csv_kind *ret_kind, struct err *err);
void csv_check_row(struct csv_check *check, const struct record *record);
/* Exactly the rows so far, and not a byte more? */
bool csv_check_is_equal(const struct csv_check *check);
/* More than the rows so far? Then it has something that its JSONL file does not. */
bool csv_check_is_longer(const struct csv_check *check);
void csv_check_close(struct csv_check *check);

/* Renames the file to PATH.orig, or PATH.orig.1 ... when that is taken. */
MUST_CHECK enum status csv_move_aside(const char *path, struct err *err);

/* Makes the file anew from all records of the JSONL file, through a temporary file and rename(2).
 */
MUST_CHECK enum status csv_remake(const char *path, int jsonl_fd, const char *jsonl_path,
                                  struct err *err);

#endif
