/* client/preflight.h - before a sweep: can the engine's worker be started at all, and with what?
 *
 * An engine in Python lives in an interpreter of the user's choosing; one line that says that it
 * has no PyTorch is worth more than a sweep of failed cells.
 */
#ifndef CLIENT_PREFLIGHT_H
#define CLIENT_PREFLIGHT_H

#include "base/buf.h"
#include "base/status.h"
#include "client/options.h"

/* Runs `[launch prefix] SELF worker ENGINE --probe` and appends the JSON object it prints:
 * {executable, chosen_by, python, packages: {name: version}, missing: [name]}, every package of
 * which must be there. STATUS_NOT_FOUND with the worker's own last line when it cannot be started,
 * or with the packages that are missing and how to get them; STATUS_TIMEOUT after phase_timeout_ns.
 */
MUST_CHECK enum status preflight_require(const struct client_options *options, const char *engine,
                                         struct buf *ret_json, struct err *err);
/* Runs `... worker ENGINE --peak DEVICE` and appends the JSON object it prints
 * (tokmark_worker/peak.py).
 */
MUST_CHECK enum status preflight_peak(const struct client_options *options, const char *engine,
                                      const char *device, struct buf *ret_json, struct err *err);

#endif
