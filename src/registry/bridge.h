/* registry/bridge.h - results as entries of a registry of metrics. */
#ifndef REGISTRY_BRIDGE_H
#define REGISTRY_BRIDGE_H

#include "registry/entry.h"
#include "result/admit.h"
#include "result/visit.h"

#define BRIDGE_ENTRIES_MAX     4096
#define BRIDGE_WORDS_MAX       64

#define BRIDGE_ID_TEMPLATE     "metric:fp_{mode}_{metric}{_engine}"
#define BRIDGE_NAME_TEMPLATE   "{title} ({mode})"
#define BRIDGE_SOURCE_TEMPLATE "{script}"

/* All borrowed while the bridge runs. */
struct bridge_options {
    const char *id_template, *name_template, *source_template; /* NULL = the ones above */
    const char *const *tags; /* templates; none: fuzzy-parakeet v24.x {engine} */
    size_t tags_count;
    const char *const *metrics; /* names of fields, or "all"; none: tokens_per_sec */
    size_t metrics_count;
    const char *const *modes; /* only these; none: all that the results have */
    size_t modes_count;
    const char *const *engines;
    size_t engines_count;
    bool includes[ADMIT_KINDS_COUNT];
    bool writes_value;
};

struct bridge_counts {
    uint64_t records; /* whose metrics were taken */
    uint64_t failed;  /* cells without a result */
    uint64_t left_out[ADMIT_KINDS_COUNT];
    struct visit_notes notes;
    size_t mixed; /* entries whose value is of one of several cells */
    char first_mixed[ENTRY_TEXT_MAX];
};

struct bridge; /* opaque */

/* `options` and what it points to are borrowed for the bridge's life. STATUS_INVALID: a metric that
 * is none or has no better direction, a template with a fault. */
MUST_CHECK enum status bridge_new(const struct bridge_options *options, struct bridge **ret_bridge,
                                  struct err *err);
void bridge_free(struct bridge *bridge);
/* Entries of one source's records; of several with the same id the newest counts. */
MUST_CHECK enum status bridge_add(struct bridge *bridge, const char *source, struct err *err);
/* Entries without results: of the modes and engines in the options, else of train and pytorch. */
MUST_CHECK enum status bridge_add_plain(struct bridge *bridge, struct err *err);
/* Borrowed: until something is added. In the order that they came. */
const struct entry *bridge_entries(struct bridge *bridge, size_t *ret_count);
const struct bridge_counts *bridge_counts(const struct bridge *bridge);

#endif
