/* cli/run_setup.h - from flags to a checked sweep. Nothing is written or started here. */
#ifndef CLI_RUN_SETUP_H
#define CLI_RUN_SETUP_H

#include "base/file.h"
#include "base/hash.h"
#include "cli/run_options.h"
#include "engines/engine.h"
#include "measure/policy.h"
#include "plan/plan.h"

struct run_setup {
    struct run_options options;
    struct plan plan;  /* owned */
    bool keeps_length; /* the model's own length is the user's (plan/plan.h) */
    struct measure_policy policy;
    char policy_id[HASH_ID_BYTES];
    const struct engine_ops *ops; /* borrowed: static; NULL for exec: */
    char out[FILE_PATH_BYTES];    /* without a slash at the end */
};

/* Every rule that needs more than one flag, a file or a preset. STATUS_NOMEM, or a wrong command
 * line: the text names the flag and the nearest valid value. run_setup_release() in any case. */
MUST_CHECK enum status run_setup_make(const struct run_options *options,
                                      const struct options_table *table,
                                      const struct options_seen *seen, struct run_setup *ret_setup,
                                      struct err *err);
void run_setup_release(struct run_setup *setup);

#endif
