/* spec/facts.h - the fields of a record as a table (facts.def), for code that goes over them. */
#ifndef SPEC_FACTS_H
#define SPEC_FACTS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"

/* Fields by name: FACT_MS_PER_STEP. In the order of records. */
enum fact_id {
#define OWN(id, ...)    FACT_##id,
#define READY(id, ...)  FACT_##id,
#define BLOCK(id, ...)  FACT_##id,
#define MEMORY(id, ...) FACT_##id,
#include "spec/facts.def"
    FACTS_COUNT
};

enum fact_type {
    FACT_TYPE_STRING,
    FACT_TYPE_INTEGER,
    FACT_TYPE_DOUBLE,
    FACT_TYPE_BOOLEAN,
    FACT_TYPE_JSON
};

/* How two values compare. EXACT: two records in which it differs are not of the same thing. */
enum fact_better { FACT_BETTER_NONE, FACT_BETTER_HIGHER, FACT_BETTER_LOWER, FACT_BETTER_EXACT };

/* How two results are compared by a field (docs/compare.md). SAMPLED: it is made from the samples
 * of steps, so it has an interval. READING: one value a run. COUNTED: not measured, so any change
 * is one. WORK: two records in which it differs are not of the same thing. SETTING: it may differ,
 * and is named where it does. */
#define FACT_COMPARE_MAP(X) \
    X(NOT, "not")           \
    X(SAMPLED, "sampled")   \
    X(READING, "reading")   \
    X(COUNTED, "counted")   \
    X(WORK, "work")         \
    X(SETTING, "setting")

enum fact_compare {
    FACT_COMPARE_BY_BETTER, /* only in the table; fact_compare() gives one of the others */
#define X(name, text) FACT_COMPARE_##name,
    FACT_COMPARE_MAP(X)
#undef X
        FACT_COMPARES_COUNT
};

/* X(name, text): sections of docs/records.md. */
#define FACT_GROUP_MAP(X)         \
    X(PUBLISHED, "published")     \
    X(IDENTITY, "identity")       \
    X(LATENCY, "latency")         \
    X(STARTUP, "startup")         \
    X(MODEL, "model")             \
    X(PRECISION, "precision")     \
    X(MEMORY, "memory")           \
    X(NUMERICS, "numerics")       \
    X(PROVENANCE, "provenance")   \
    X(DEVICE, "device")           \
    X(SAMPLES, "samples")         \
    X(HARNESS, "harness")         \
    X(CONTENTION, "contention")   \
    X(SWEEP, "sweep")             \
    X(HISTORY, "history")         \
    X(CLOCKS, "clocks")           \
    X(ENERGY, "energy")           \
    X(UTILIZATION, "utilization") \
    X(PARALLEL, "parallel")

enum fact_group {
#define X(name, text) FACT_GROUP_##name,
    FACT_GROUP_MAP(X)
#undef X
        FACT_GROUPS_COUNT
};

/* X(name, text): who gives a value. READY, BLOCK, MEMORY, HELLO and ERROR are a worker's replies.
 */
#define FACT_GIVER_MAP(X) \
    X(CELL, "cell")       \
    X(HELLO, "hello")     \
    X(READY, "ready")     \
    X(BLOCK, "block")     \
    X(MEMORY, "memory")   \
    X(ERROR, "error")     \
    X(SAMPLES, "samples") \
    X(PROCESS, "process") \
    X(HARNESS, "harness") \
    X(PROBE, "probe")     \
    X(SWEEP, "sweep")

enum fact_giver {
#define X(name, text) FACT_GIVER_##name,
    FACT_GIVER_MAP(X)
#undef X
        FACT_GIVERS_COUNT
};

/* X(name, text): kinds of values in a worker's replies. Of an OR_NONE a 0 is as good as nothing:
 * there is none, or it is not known. TEXT is refused over 63 bytes, LONG_TEXT cut at 511; JSON is
 * an object or a list of at most 64 KiB. */
#define FACT_WIRE_MAP(X)          \
    X(NONE, "-")                  \
    X(COUNT, "count")             \
    X(COUNT_OR_NONE, "count")     \
    X(NS, "ns")                   \
    X(NS_OR_NONE, "ns")           \
    X(BYTES, "bytes")             \
    X(NUMBER, "number")           \
    X(NUMBER_OR_NONE, "number")   \
    X(FLAG, "flag")               \
    X(TEXT, "text 64")            \
    X(LONG_TEXT, "text 512, cut") \
    X(JSON, "object or list, 64 KiB")

enum fact_wire {
#define X(name, text) FACT_WIRE_##name,
    FACT_WIRE_MAP(X)
#undef X
        FACT_WIRES_COUNT
};

/* What becomes of the values of a trial's blocks. SUM: of the measured blocks, known when all of
 * them say it. STEP_MEAN: that by their steps. LAST: of the last measured block. TOTAL: of all
 * blocks, warm-up's too, known when any says it. */
enum fact_fold {
    FACT_FOLD_NONE,
    FACT_FOLD_SUM,
    FACT_FOLD_STEP_MEAN,
    FACT_FOLD_LAST,
    FACT_FOLD_TOTAL
};

/* All borrowed: static. */
struct fact {
    const char *name;
    enum fact_type type;
    const char *unit; /* "" = none */
    enum fact_group group;
    enum fact_better better;
    enum fact_giver giver;
    const char *meaning;   /* one sentence, Markdown */
    const char *null_when; /* for people; "never" */
    const char *null_reasons;
    const char *key; /* in the giver's reply; "" for OWN rows */
    enum fact_wire wire;
    enum fact_fold fold;
};

extern const struct fact facts_table[FACTS_COUNT];

/* Never NULL; `id` < FACTS_COUNT (ASSERT). Inline: readers ask hundreds of times a record. */
static inline const struct fact *fact_of(enum fact_id id)
{
    ASSERT(id < FACTS_COUNT);
    return &facts_table[id];
}
/* False when no field has that name. */
bool fact_find(const char *name, enum fact_id *ret_id);
/* "a string", "a whole number, 0 or more" ...: for messages. "string", "integer" ...: for tables.
 */
const char *fact_type_says(enum fact_type type);
const char *fact_type_name(enum fact_type type);
const char *fact_better_name(enum fact_better better);
const char *fact_group_name(enum fact_group group);
const char *fact_giver_name(enum fact_giver giver);
const char *fact_wire_name(enum fact_wire wire);
enum fact_compare fact_compare(enum fact_id id);
const char *fact_compare_name(enum fact_compare compare);
/* The smallest change of the field, in %, that counts; 0 where any does. */
#define FACT_LEAST_PERCENT 5.0
double fact_least_percent(enum fact_id id);
/* Is `word` in the row's null_reasons? */
bool fact_lists_reason(const struct fact *fact, const char *word);
/* The reason of a worker that does not say: the first word, in the caller's buffer. */
#define FACT_REASON_BYTES 48
void fact_unsaid_reason(const struct fact *fact, char ret_reason[FACT_REASON_BYTES]);

#endif
