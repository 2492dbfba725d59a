/* cli/fit.h - `--batch max`, `--seq max`, `--batch best` and `--devices min`: the size of each cell
 * is found by trials before the sweep, and kept in DIR/frontier.jsonl (docs/fit.md).
 */
#ifndef CLI_FIT_H
#define CLI_FIT_H

#include "base/status.h"
#include "cli/context.h"
#include "cli/run_setup.h"
#include "client/options.h"

/* Is a size to be found? */
bool fit_is_wanted(const struct run_setup *setup);
/* Finds them, and sets the sizes of the plan's cells; before the store is open, under whose lock
 * the frontier is kept, too. A cell of which no size fits, or which fails for another reason, keeps
 * size 1, or has all devices: the sweep then records why. Stops early, with STATUS_OK, at a signal.
 */
MUST_CHECK enum status fit_find(struct run_setup *setup, const struct context *context,
                                struct client_options client, struct err *err);
/* The sizes by prediction alone, nothing is started; 1 where there is none. Of devices the most
 * where none is predicted to do. */
MUST_CHECK enum status fit_predict(struct run_setup *setup, const char *environment_json,
                                   struct err *err);

#endif
