/* cli/known.h - what earlier runs have left in the user's data folder: the machine's best clock
 * check (store/clock_check.h) and cells' medians (store/history.h). Neither reading nor writing it
 * stops a run. */
#ifndef CLI_KNOWN_H
#define CLI_KNOWN_H

#include <stdbool.h>

#include "base/file.h"
#include "base/hash.h"
#include "result/record.h"
#include "store/clock_check.h"
#include "store/history.h"

struct known {
    bool has_pace, has_history; /* looked at */
    uint64_t pace_best_ns;      /* 0 = not known */
    struct history_book history;
    char machine_id[HASH_ID_BYTES];
    char dir[FILE_PATH_BYTES]; /* empty: nowhere to keep it */
    struct err err;            /* why something could not be kept; once is enough */
};

/* What is known of the machine of `environment_json`, as far as it is wanted. `*ret` is usable, and
 * to be released, in any case; other than OK: why nothing is known, for a note. */
MUST_CHECK enum status known_init(struct known *ret, bool wants_pace, bool wants_history,
                                  const char *environment_json, struct err *err);
void known_release(struct known *known);
/* Keeps what a record says. Where that cannot be stored, `known->err` says why. */
void known_take(struct known *known, const struct record *record);

#endif
