/* cli/known.h - what this machine has shown, from the user's data folder: its best clock
 * check and cells' medians (store/machine.h). Neither reading nor writing it stops a run. */
#ifndef CLI_KNOWN_H
#define CLI_KNOWN_H

#include <stdbool.h>

#include "base/file.h"
#include "base/hash.h"
#include "result/record.h"
#include "store/machine.h"

struct known {
    bool has_clock, has_history; /* looked at */
    uint64_t clock_best_ns;      /* 0 = not known */
    struct machine_book book;
    char machine_id[HASH_ID_BYTES], hardware_id[HASH_ID_BYTES];
    char dir[FILE_PATH_BYTES]; /* empty: nowhere to keep it */
    struct err err;            /* why something could not be kept; once is enough */
};

/* What is known of the machine of `environment_json`, as far as it is wanted. `known` is usable,
 * and to be released, in any case; other than OK: why nothing is known, for a note. */
MUST_CHECK enum status known_init(struct known *known, bool wants_clock, bool wants_history,
                                  const char *environment_json, struct err *err);
void known_release(struct known *known);
/* Keeps what a record says. Where that cannot be stored, `known->err` says why. */
void known_take(struct known *known, const struct record *record);

#endif
