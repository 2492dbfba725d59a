/* cli/fit_frontier.h - DIR/frontier.jsonl: which sizes fit, found by trials. */
#ifndef CLI_FIT_FRONTIER_H
#define CLI_FIT_FRONTIER_H

#include "base/hash.h"
#include "base/status.h"
#include "plan/plan.h"
#include "spec/cell.h"
#include "spec/verdict.h"
#include "store/journal.h"

#define FRONTIER_TRIES_MAX 64

/* One trial. */
struct frontier_try {
    uint32_t size;
    enum verdict verdict;  /* OK: it fits */
    bool is_by_prediction; /* not tried: it would have taken more than there is */
    double tokens_per_sec; /* 0 = not measured */
};

enum frontier_axis { FRONTIER_BATCH, FRONTIER_SEQ, FRONTIER_DEVICES };

struct frontier {
    const struct cell *cell; /* borrowed: with the size found */
    enum frontier_axis axis; /* what the size is */
    enum plan_goal goal;
    char layout[PARALLEL_TEXT_BYTES]; /* of devices that are to be found: over more than one */
    uint32_t size;                    /* 0 = none fits */
    uint32_t fails;                   /* the nearest to it; 0 = not found, or none */
    struct reasons reasons;           /* why that one does not */
    struct frontier_try tries[FRONTIER_TRIES_MAX];
    size_t tries_count;
    uint64_t total_ns;
};

/* Equal for searches whose answer is the same: the cell's id at size 1, the axis and the goal. */
void frontier_key(const struct frontier *frontier, char key[HASH_ID_BYTES]);
/* The size that the newest line of `dir` found for the key on this environment; 0 = none. */
MUST_CHECK enum status frontier_find(const char *dir, const char *key, const char *environment_id,
                                     uint32_t *ret_size, struct err *err);
MUST_CHECK enum status frontier_append(struct journal *journal, const struct frontier *frontier,
                                       const char *run_id, const char *environment_id,
                                       struct err *err);

#endif
