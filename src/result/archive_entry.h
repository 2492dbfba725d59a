/* result/archive_entry.h - the results inside of a zip archive, as a stream: nothing is unpacked to
 * disk, and no more of it is held than the caller asks for. */
#ifndef RESULT_ARCHIVE_ENTRY_H
#define RESULT_ARCHIVE_ENTRY_H

#include <stddef.h>

#include "base/status.h"

struct archive_entry; /* opaque */

/* Finds the one bench_results.jsonl in the archive, in whichever folder; where there is none, the
 * one bench_results.csv. `beside` (NULL: those): a file beside that one, "samples/x.jsonl";
 * STATUS_NOT_FOUND where there is none, or over ARCHIVE_ENTRY_FILES_MAX files would be searched.
 * `fd`: a plain file, borrowed: for the call. `name` is for errors. */
#define ARCHIVE_ENTRY_FILES_MAX 20000
MUST_CHECK enum status archive_entry_open(int fd, const char *name, const char *beside,
                                          struct archive_entry **ret_entry, struct err *err);
void archive_entry_close(struct archive_entry *entry);
/* *ret_bytes = 0 at its end. STATUS_IO also when the bytes do not fit their checksum. */
MUST_CHECK enum status archive_entry_read(struct archive_entry *entry, void *bytes,
                                          size_t bytes_max, size_t *ret_bytes, struct err *err);

#endif
