/* cli/known_pace.h - the fastest pace that this machine has shown, from the user's data folder and
 * back (store/pace.h). Neither reading nor writing it stops a run. */
#ifndef CLI_KNOWN_PACE_H
#define CLI_KNOWN_PACE_H

#include <stdbool.h>

#include "base/file.h"
#include "base/hash.h"
#include "store/pace.h"
#include "store/record.h"

struct known_pace {
    bool is_on;
    uint64_t best_ns; /* 0 = not known */
    char machine_id[HASH_ID_BYTES];
    char dir[FILE_PATH_BYTES]; /* empty: nowhere to keep it */
};

/* What is known of the machine of `environment_json`. `*ret` is usable in any case; other than OK:
 * why nothing is known, for a note. */
MUST_CHECK enum status known_pace_init(struct known_pace *ret, const char *environment_json,
                                       struct err *err);
/* Keeps what a record says, and stores it where it is better. Other than OK: why it is not stored.
 */
MUST_CHECK enum status known_pace_take(struct known_pace *known, const struct record *record,
                                       struct err *err);

#endif
