/* cli/sides.h - the engines of a call that compares them (`check`, `stability`): a folder for the
 * files that they are given and write, equal weights, and how their workers are started. */
#ifndef CLI_SIDES_H
#define CLI_SIDES_H

#include "base/file.h"
#include "cli/check_setup.h"
#include "cli/context.h"
#include "client/options.h"
#include "store/journal.h"

/* Borrowed: for the sides' life. */
struct sides {
    const struct invocation *call;
    struct check_setup *setup;
    const char *name; /* of the command: of its folder and logs */
    bool has_several; /* of an engine more than one worker is started */
    struct context context;
    char folder[FILE_PATH_BYTES]; /* of the files; "" = not made yet */
    bool is_open;                 /* the journal: results may have been written */
    struct journal journal;
};

struct sides sides_of(const struct invocation *call, struct check_setup *setup, const char *name);
/* Sees that each engine can be started, opens the journal, makes the folder. sides_close() in any
 * case. */
MUST_CHECK enum status sides_open(struct sides *sides, const char *journal_name, struct err *err);
/* With --keep the folder stays. */
void sides_close(struct sides *sides);

/* The path of a file in the folder. */
MUST_CHECK enum status sides_path(const struct sides *sides, const char *name,
                                  char path[FILE_PATH_BYTES], struct err *err);
/* Makes weights for the sides that were given none. */
MUST_CHECK enum status sides_write_weights(struct sides *sides, struct err *err);
MUST_CHECK enum status sides_log_path(const struct sides *sides, const struct check_side *side,
                                      enum cell_precision precision, char path[FILE_PATH_BYTES],
                                      struct err *err);
struct client_options sides_client(const struct sides *sides, const struct check_side *side);

#endif
