/* result/admit.h - which records a registry takes, and what makes two of them the same. */
#ifndef RESULT_ADMIT_H
#define RESULT_ADMIT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/hash.h"
#include "result/reader.h"

/* X(name, word): what stays out unless it is asked for. */
#define ADMIT_MAP(X)      \
    X(SANDBOX, "sandbox") \
    X(INVALID, "invalid") \
    X(UNSTEADY, "unsteady")

enum admit_kind {
#define X(name, word) ADMIT_##name,
    ADMIT_MAP(X)
#undef X
        ADMIT_KINDS_COUNT
};

const char *admit_word(enum admit_kind kind);

/* Made-up results, and records of these verdicts, are of a kind; false: it is of none. Sandbox
 * comes first. */
bool admit_find_kind(const struct reader_item *item, enum admit_kind *ret_kind);

/* The fields that the two functions here look at. */
extern const enum fact_id admit_fields[];
extern const size_t admit_fields_count;

/* Of a record of tokmark: its call, cell, policy, trial and start, whatever the version that wrote
 * it or the text it is read from. Where one of these is not known, and of the published scripts'
 * records: the fifteen published fields, by value. `scratch` is emptied and used. */
struct hash_wide admit_key(const struct reader_item *item, struct buf *scratch);

#endif
