/* store/checks.h - DIR/checks.jsonl (a journal, store/journal.h) read again: what do the checks of
 * a folder say of a speed record? One line is one engine and precision (docs/records.md).
 */
#ifndef STORE_CHECKS_H
#define STORE_CHECKS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"
#include "store/journal.h"

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

/* What the newest line of `dir` that fits and has a comparison says, and in which run it was
 * made. A folder without checks is CHECKS_NONE; lines that are none of ours are passed over. */
MUST_CHECK enum status checks_find(const char *dir, const struct checks_wanted *wanted,
                                   enum checks_finding *ret_finding,
                                   char ret_run_id[CHECKS_RUN_BYTES], struct err *err);

#endif
