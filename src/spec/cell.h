/* spec/cell.h - one point of a sweep, and the words it is made of.
 *
 * A cell says what is measured. How long (steps, warm-up) is measure/policy.h's, so that a cell's
 * id stays the same however it was measured.
 */
#ifndef SPEC_CELL_H
#define SPEC_CELL_H

#include <jansson.h>
#include <stdint.h>

#include "base/hash.h"
#include "base/json_write.h"
#include "base/status.h"
#include "spec/model.h"

#define CELL_WORD_BYTES 32
#define CELL_PATH_BYTES 1024

#define CELL_MODE_MAP(X) \
    X(TRAIN, "train")    \
    X(INFER, "infer")    \
    X(DECODE, "decode")

enum cell_mode {
#define X(name, text) CELL_MODE_##name,
    CELL_MODE_MAP(X)
#undef X
        CELL_MODE_COUNT
};

/* Precisions as users ask for them; what really ran is in the worker's provenance. */
#define CELL_PRECISION_MAP(X) \
    X(FP32, "fp32")           \
    X(TF32, "tf32")           \
    X(BF16, "bf16")           \
    X(BF16_PURE, "bf16-pure") \
    X(FP16, "fp16")           \
    X(INT8, "int8")

enum cell_precision {
#define X(name, text) CELL_PRECISION_##name,
    CELL_PRECISION_MAP(X)
#undef X
        CELL_PRECISION_COUNT
};

/* How a data file is read; AUTO decides by content: see data/tokens.h. */
#define CELL_DATA_MAP(X)      \
    X(SYNTHETIC, "synthetic") \
    X(AUTO, "auto")           \
    X(UINT16, "uint16")       \
    X(UINT32, "uint32")       \
    X(TEXT, "text")

enum cell_data {
#define X(name, text) CELL_DATA_##name,
    CELL_DATA_MAP(X)
#undef X
        CELL_DATA_COUNT
};

/* How a mixture of experts is computed: the chosen experts only, or all of them and masked. */
#define CELL_MOE_MAP(X) \
    X(ROUTED, "routed") \
    X(PUBLISHED, "published")

enum cell_moe {
#define X(name, text) CELL_MOE_##name,
    CELL_MOE_MAP(X)
#undef X
        CELL_MOE_COUNT
};

#define CELL_COMPILE_MAP(X) \
    X(OFF, "off")           \
    X(DEFAULT, "default")   \
    X(MAX_AUTOTUNE, "max-autotune")

enum cell_compile {
#define X(name, text) CELL_COMPILE_##name,
    CELL_COMPILE_MAP(X)
#undef X
        CELL_COMPILE_COUNT
};

/* Whose code makes a preset's model: AUTO takes the user's own package where one is found. */
#define CELL_SOURCE_MAP(X) \
    X(AUTO, "auto")        \
    X(BUILTIN, "builtin")

enum cell_source {
#define X(name, text) CELL_SOURCE_##name,
    CELL_SOURCE_MAP(X)
#undef X
        CELL_SOURCE_COUNT
};

/* What only engines that run a user's own model have; all zero = a preset, as it comes. Written,
 * and hashed, only where it is not zero, so that ids of other cells do not depend on it. */
struct cell_options {
    enum cell_moe moe;
    enum cell_compile compile;
    enum cell_source source;
    bool keeps_defaults; /* nobody named a preset: a package found keeps its own settings */
    bool trusts_code;    /* code that lies in a transformers folder may run */
    char settings_json[CELL_PATH_BYTES]; /* JSON object of strings: settings of the model's own
                                          * configuration; "" = none */
};

const char *cell_mode_name(enum cell_mode mode);
const char *cell_precision_name(enum cell_precision precision);
const char *cell_data_name(enum cell_data data);
/* Errors name the nearest valid word. */
MUST_CHECK enum status cell_mode_parse(const char *text, enum cell_mode *ret, struct err *err);
MUST_CHECK enum status cell_precision_parse(const char *text, enum cell_precision *ret,
                                            struct err *err);
MUST_CHECK enum status cell_data_parse(const char *text, enum cell_data *ret, struct err *err);

struct cell {
    char engine[CELL_PATH_BYTES];       /* "native", or "exec:COMMAND" */
    struct model_spec model;            /* max_seq_len already set to seq_len */
    char model_source[CELL_WORD_BYTES]; /* "preset", "factory", "hf": where `model` comes from */
    char model_ref[CELL_PATH_BYTES]; /* "pkg.module:NAME", "/DIR/FILE.py:NAME", "hf:/DIR"; "" = the
                                      * preset. With one `model` holds only what such a model may
                                      * ask for */
    struct cell_options options;
    char device[CELL_WORD_BYTES]; /* "cpu", "cuda:0" */
    enum cell_precision precision;
    enum cell_mode mode;
    uint32_t seq_len;
    uint32_t batch_size;
    uint32_t threads_count; /* 0 = the engine decides */
    uint64_t seed;
    enum cell_data data;
    char data_path[CELL_PATH_BYTES];    /* empty for synthetic */
    char data_hash[HASH_ID_BYTES];      /* of the file's content; empty for synthetic */
    char weights_path[CELL_PATH_BYTES]; /* safetensors to start from; empty = initialised from seed
                                         */
    char weights_hash[HASH_ID_BYTES];   /* of the file's content; empty without one */
    bool skips_memory_check; /* a worker tries what it predicts not to fit. Not part of the id */
    char framework[CELL_WORD_BYTES]; /* name in records: "native", "pytorch-sandbox" */
};

/* Tokens that one step handles: batch * seq for train and infer, batch for decode. */
uint64_t cell_tokens_per_step(const struct cell *cell);

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

#endif
