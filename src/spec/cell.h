/* spec/cell.h - one point of a sweep, and the words it is made of.
 *
 * A cell says what is measured. How long (steps, warm-up) is measure/policy.h's, so that a cell's
 * id stays the same however it was measured.
 */
#ifndef SPEC_CELL_H
#define SPEC_CELL_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/hash.h"
#include "base/json_write.h"
#include "base/status.h"
#include "spec/model.h"
#include "spec/parallel.h"

#define CELL_WORD_BYTES 32
#define CELL_PATH_BYTES 1024
/* An engine's whole name, a command's too, and "-sandbox": cell_id() is made from it. */
#define CELL_FRAMEWORK_BYTES (CELL_PATH_BYTES + 16)
#define CELL_SEED_BYTES      24

/* enum cell_mode, enum cell_precision, ...: the values of words. */
#define CELL_ENUM_TEXT(member, bytes)
#define CELL_ENUM_HASH(member, bytes)
#define CELL_ENUM_WORD(member, ...) enum cell_##member{__VA_ARGS__};
#define CELL_ENUM_FLAG(member, ...)
#define CELL_ENUM_COUNT(member, least)
#define CELL_ENUM_SEED(member, bytes)
#define CELL_ENUM_MODEL(member, none)
#define CELL_ENUM_SETTINGS(member, bytes)
#define CELL_ENUM_OPTIONS(member, none)
#define W(constant, word)                               constant,
#define CELL(member, key, kind, need, limit, meaning)   CELL_ENUM_##kind(member, limit)
#define OPTION(member, key, kind, need, limit, meaning) CELL_ENUM_##kind(member, limit)
#include "spec/cell.def"

#define CELL_MODE_COUNT                     (CELL_MODE_DECODE + 1)
#define CELL_PRECISION_COUNT                (CELL_PRECISION_INT8 + 1)

#define CELL_MEMBER_TEXT(member, bytes)     char member[bytes];
#define CELL_MEMBER_HASH(member, bytes)     char member[bytes];
#define CELL_MEMBER_WORD(member, words)     enum cell_##member member;
#define CELL_MEMBER_FLAG(member, words)     bool member;
#define CELL_MEMBER_COUNT(member, least)    uint32_t member;
#define CELL_MEMBER_SEED(member, bytes)     uint64_t member;
#define CELL_MEMBER_MODEL(member, none)     struct model_spec member;
#define CELL_MEMBER_SETTINGS(member, bytes) char member[bytes];
#define CELL_MEMBER_OPTIONS(member, none)   struct cell_options member;

/* All zero = a preset, as it comes. */
struct cell_options {
#define OPTION(member, key, kind, need, limit, meaning) CELL_MEMBER_##kind(member, limit)
#include "spec/cell.def"
};

/* Members by spec/cell.def, which says what each is. Of `model`, max_seq_len is already set to
 * seq_len; with a model_ref it holds only what such a model may ask for. */
struct cell {
#define CELL(member, key, kind, need, limit, meaning) CELL_MEMBER_##kind(member, limit)
#include "spec/cell.def"
};

const char *cell_mode_name(enum cell_mode mode);
const char *cell_precision_name(enum cell_precision precision);
/* How it lies on its devices. */
struct parallel cell_layout(const struct cell *cell);
/* "fsdp:2,tp:2"; "none" on one device. */
const char *cell_parallel_name(const struct cell *cell);
/* "bf16 fsdp:2,tp:2", as the progress line and a dry run name how a cell is computed. */
void cell_precision_text(const struct cell *cell, char text[2 * CELL_WORD_BYTES]);
/* "cpu:2 fsdp", as records and checks name where a cell ran. */
void cell_device_text(const struct cell *cell, char text[2 * CELL_WORD_BYTES]);
const char *cell_data_name(enum cell_data data);

/* Is any of its options not zero? */
bool cell_has_options(const struct cell *cell);

/* One training, one cell, however it is written: an option that says what its zero says becomes
 * zero, and so do those of training where nothing is trained. Once mode and precision are known. */
void cell_settle(struct cell *cell);
const char *cell_recompute_name(enum cell_recompute recompute);
/* Parts that a step's rows are computed in: 1 or more. */
uint32_t cell_accumulate(const struct cell *cell);
/* Type of AdamW's moments: "fp32" or "bf16". */
const char *cell_optimizer_dtype_name(const struct cell *cell);

/* Tokens that one step handles: batch * seq for train and infer, batch for decode. */
uint64_t cell_tokens_per_step(const struct cell *cell);

/* AdamW's, as published, where none is asked for. */
#define CELL_LEARNING_RATE 3e-4
MUST_CHECK enum status cell_parse_learning_rate(const char *text, double *ret_rate,
                                                struct err *err);
/* Of a cell that was read or made by the rules above. */
double cell_learning_rate(const struct cell *cell);

/* Does `cell` need at least the memory of `smaller`? Known only where both are the same but for
 * shape and mode: no fewer rows, no fewer tokens in a row, and the same mode or training, which
 * keeps what inference keeps and more. False where it is not known. */
bool cell_needs_memory_of(const struct cell *cell, const struct cell *smaller);

/* Content hash of everything in the cell that decides what is measured (files by content hash, not
 * by path). Equal cells have equal ids on any machine, in any run, in any order of the axes. */
void cell_id(const struct cell *cell, char id[HASH_ID_BYTES]);

/* The keys of the `open` message (docs/protocol.md), written into an object the caller has begun.
 * cell_id() hashes a canonical form of the same fields. */
void cell_write(const struct cell *cell, struct json_writer *writer);
/* Reads them back; every field checked, as a worker must not trust its host. */
MUST_CHECK enum status cell_read(const json_t *object, struct cell *ret_cell, struct err *err);

/* --- the rows themselves, for documents and tests ----------------------------------------------
 */

#define CELL_KIND_MAP(X) \
    X(TEXT)              \
    X(HASH)              \
    X(WORD)              \
    X(FLAG)              \
    X(COUNT)             \
    X(SEED)              \
    X(MODEL)             \
    X(SETTINGS)          \
    X(OPTIONS)

enum cell_kind {
#define X(name) CELL_KIND_##name,
    CELL_KIND_MAP(X)
#undef X
};

enum cell_need {
    CELL_NEED_ALWAYS,
    CELL_NEED_PATH,
    CELL_NEED_IF_SET,
    CELL_NEED_UNHASHED,
    CELL_NEED_BESIDE
};

/* A row of spec/cell.def. Borrowed: static. */
struct cell_field {
    const char *key;
    bool is_option; /* a key of `options` */
    enum cell_kind kind;
    enum cell_need need;
    size_t offset; /* in struct cell, for options too */
    size_t bytes;  /* of the member; a text is shorter */
    uint32_t least;
    const char *const *words; /* borrowed: static */
    size_t words_count;
    const char *meaning; /* Markdown */
};

/* In the order of the table; NULL past the last. */
const struct cell_field *cell_field_at(size_t index);

#endif
