/* registry/merge.h - records of results added to a registry of JSON lines. */
#ifndef REGISTRY_MERGE_H
#define REGISTRY_MERGE_H

#include "base/buf.h"
#include "registry/target.h"
#include "result/admit.h"
#include "result/visit.h"

struct merge_counts {
    uint64_t added;
    uint64_t known; /* records that the registry had, or that came before in this call */
    uint64_t left_out[ADMIT_KINDS_COUNT];
    struct visit_notes notes;
};

struct merge; /* opaque */

/* Locks the registry and learns which records it has. `includes`: kinds that are taken;
 * `only_looks`: nothing is written. STATUS_INVALID: the file is of another kind than lines. */
MUST_CHECK enum status merge_open(const char *path, const bool includes[ADMIT_KINDS_COUNT],
                                  bool only_looks, struct merge **ret_merge, struct err *err);
void merge_close(struct merge *merge);
/* Adds the records of one source, in their order; "-" is standard input. A line of JSON is added as
 * it stands, a row of CSV as the line that it says. */
MUST_CHECK enum status merge_add(struct merge *merge, const char *source, struct err *err);
/* The file is replaced, unless nothing was added: then it was never touched. */
MUST_CHECK enum status merge_commit(struct merge *merge, struct err *err);
const struct merge_counts *merge_counts(const struct merge *merge);

#endif
