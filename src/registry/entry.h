/* registry/entry.h - an entry of a registry of metrics, in the published form:
 *
 *   - id: metric:fp_train_tps
 *     name: Tokens/sec (train)
 *     compare: higher_is_better
 *     source: benchmarks/bench_pytorch.py
 *     tags: [fuzzy-parakeet, v24.x, pytorch]
 *
 * and, where the newest result is wanted, `value`, `unit`, `measured_at`, `run_id`, `cell_id`.
 */
#ifndef REGISTRY_ENTRY_H
#define REGISTRY_ENTRY_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/status.h"

#define ENTRY_TEXT_MAX 1024 /* bytes of a value */
#define ENTRY_TAGS_MAX 32

/* X(name, key): in the order that they are written. */
#define ENTRY_FIELD_MAP(X)        \
    X(ID, "id")                   \
    X(NAME, "name")               \
    X(COMPARE, "compare")         \
    X(SOURCE, "source")           \
    X(TAGS, "tags")               \
    X(VALUE, "value")             \
    X(UNIT, "unit")               \
    X(MEASURED_AT, "measured_at") \
    X(RUN_ID, "run_id")           \
    X(CELL_ID, "cell_id")

enum entry_field {
#define X(name, key) ENTRY_##name,
    ENTRY_FIELD_MAP(X)
#undef X
        ENTRY_FIELDS_COUNT
};

struct entry {
    char
        *texts[ENTRY_FIELDS_COUNT]; /* owned; NULL = not written. VALUE is a number. TAGS: unused */
    char *tags[ENTRY_TAGS_MAX];     /* owned */
    size_t tags_count;
};

void entry_release(struct entry *entry);
const char *entry_key(enum entry_field field);
/* Is the field written? */
bool entry_has(const struct entry *entry, enum entry_field field);

/* How a scalar is written. */
struct entry_style {
    char quote;   /* of the value that it takes the place of: ' or "; 0 = none where that is safe */
    bool is_flow; /* inside of brackets */
};
/* Appends text so that YAML 1.1 and 1.2 read it as that string, with no quotes where none are
 * needed. */
void entry_append_text(const char *text, struct entry_style style, struct buf *out);
/* The value of one field: text, number, or the list of tags in brackets. */
void entry_append_value(const struct entry *entry, enum entry_field field, struct entry_style style,
                        struct buf *out);
/* Lines of a block sequence, their '-' behind `indent` spaces. */
void entry_append_block(const struct entry *entry, size_t indent, const char *line_end,
                        struct buf *out);
/* In braces, all of it quoted, so that it is JSON too. */
void entry_append_flow(const struct entry *entry, struct buf *out);

#endif
