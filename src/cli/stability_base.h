/* cli/stability_base.h - an earlier course of a training, from a stability.jsonl. */
#ifndef CLI_STABILITY_BASE_H
#define CLI_STABILITY_BASE_H

#include <stddef.h>

#include "base/status.h"
#include "cli/run_id.h"
#include "measure/curve.h"
#include "spec/cell.h"

/* Release with stability_base_release(). */
struct stability_base {
    double *losses, *norms; /* owned; NULL = there is none */
    size_t count;
    char run_id[RUN_ID_BYTES];
};

/* STATUS_INVALID: `dir` has no stability.jsonl. */
MUST_CHECK enum status stability_base_check(const char *dir, struct err *err);
/* The newest of `dir` that is stable and of the same cell: engine, precision, model, weights and
 * tokens. */
MUST_CHECK enum status stability_base_find(const char *dir, const struct cell *cell,
                                           struct stability_base *ret_base, struct err *err);
void stability_base_release(struct stability_base *base);
struct curve stability_base_curve(const struct stability_base *base);

#endif
