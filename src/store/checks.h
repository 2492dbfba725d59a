/* store/checks.h - DIR/checks.jsonl: what engines were compared on and how it ended, one line an
 * engine and precision (docs/records.md), under the folder's one lock (store/store.h).
 */
#ifndef STORE_CHECKS_H
#define STORE_CHECKS_H

#include <stdbool.h>
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

/* What a speed record has in common with a check that speaks for it. All borrowed. */
struct checks_wanted {
    const char *engine;         /* as given to --engine */
    const char *engine_version; /* as its worker says */
    const char *harness;        /* tokmark's own version: of `native` it is the engine's */
    const char *device;
    const char *precision;
    const char *mode; /* a check of train is one of infer, too: it compares the same logits */
    const char *model;
    const char *weights_hash; /* "" = made: then a check on any weights will do */
    bool is_package;          /* the user's own package for the preset */
};

enum checks_finding { CHECKS_NONE, CHECKS_PASSED, CHECKS_REFERENCE, CHECKS_FAILED };

#define CHECKS_RUN_BYTES 64

/* What the newest line of `dir` that fits and came to a comparison says, and in which run it was
 * made. A folder without checks is CHECKS_NONE; lines that are none of ours are passed over. */
MUST_CHECK enum status checks_find(const char *dir, const struct checks_wanted *wanted,
                                   enum checks_finding *ret_finding,
                                   char ret_run_id[CHECKS_RUN_BYTES], struct err *err);

#endif
