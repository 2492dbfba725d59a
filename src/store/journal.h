/* store/journal.h - a file of whole JSON lines beside the records, one writer at a time: what
 * engines were compared on (`check`), how two sides compare (`ab`), what is known of a machine.
 * Under the folder's one lock (store/store.h).
 */
#ifndef STORE_JOURNAL_H
#define STORE_JOURNAL_H

#include <stddef.h>

#include "base/status.h"
#include "result/names.h"
#include "store/lines.h"

#define JOURNAL_CHECKS    "checks.jsonl"
#define JOURNAL_STABILITY RESULT_STABILITY_NAME
#define JOURNAL_FRONTIER  "frontier.jsonl"
#define JOURNAL_AB        "ab_results.jsonl"

struct journal {
    int lock_fd;
    struct lines_file lines;
    size_t torn_bytes; /* cut off the end on opening: a line that was never finished */
};

/* `line`: as result/line_source.h has it, borrowed for the call; NULL for a line longer than the
 * limit. Anything but STATUS_OK ends the scan. */
typedef enum status (*journal_visit)(void *context, const char *line, size_t line_bytes,
                                     struct err *err);

/* Calls `visit` for each whole line, in order, of a file that may not be there, nor its folder:
 * then it has no lines. Takes no lock and repairs nothing. */
MUST_CHECK enum status journal_scan(const char *path, size_t line_bytes_max, journal_visit visit,
                                    void *context, struct err *err);
/* Makes the folder, takes its lock, repairs the end of the file `name` in it. STATUS_BUSY with the
 * holder's pid when another writer has it. journal_close() only after OK. */
MUST_CHECK enum status journal_open(const char *dir, const char *name, struct journal *ret_journal,
                                    struct err *err);
/* The same for a file that everybody appends to at times: waits some seconds for another writer. */
MUST_CHECK enum status journal_open_patiently(const char *dir, const char *name,
                                              struct journal *ret_journal, struct err *err);
void journal_close(struct journal *journal);
/* `line` ends in '\n'. Waits for the disk. STATUS_IO leaves the file without any part of it. */
MUST_CHECK enum status journal_append(struct journal *journal, const char *line, size_t line_bytes,
                                      struct err *err);

#endif
