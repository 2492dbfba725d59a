/* store/checks.h - DIR/checks.jsonl: what engines were compared on and how it ended, one line an
 * engine and precision (docs/records.md), under the folder's one lock (store/store.h).
 */
#ifndef STORE_CHECKS_H
#define STORE_CHECKS_H

#include <stddef.h>

#include "base/status.h"
#include "store/lines.h"

#define CHECKS_NAME "checks.jsonl"

struct checks {
    int lock_fd;
    struct lines_file lines;
    size_t torn_bytes; /* cut off the end on opening: a line that was never finished */
};

/* Makes the folder, takes its lock, repairs the file's end. STATUS_BUSY with the holder's pid when
 * another writer has it. checks_close() only after OK. */
MUST_CHECK enum status checks_open(const char *dir, struct checks *ret_checks, struct err *err);
void checks_close(struct checks *checks);
/* `line` ends in '\n'. Waits for the disk. STATUS_IO leaves the file without any part of it. */
MUST_CHECK enum status checks_append(struct checks *checks, const char *line, size_t line_bytes,
                                     struct err *err);

#endif
