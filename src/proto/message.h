/* proto/message.h - the messages of worker protocol version 1, as structs (docs/protocol.md).
 *
 * One JSON object per line. Unknown keys are ignored, unknown types are an error. A quantity a
 * worker does not know is absent on the wire, `has_* == false` or NaN here; never 0.
 */
#ifndef PROTO_MESSAGE_H
#define PROTO_MESSAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/status.h"
#include "spec/cell.h"
#include "spec/facts.h"

#define PROTO_VERSION        1
#define PROTO_LINE_BYTES_MAX (1024 * 1024)
#define PROTO_TEXT_BYTES     512
#define PROTO_WORD_BYTES     64
#define PROTO_BLOCK_STEPS_MAX \
    10000 /* per `run`, so that a block's line stays far under the limit */
#define PROTO_PROFILE_STEPS_MAX 1000
#define PROTO_OPERATORS_MAX     64 /* listed in a profile: those that took longest */
#define PROTO_OPERATOR_BYTES    128
#define PROTO_EXPERTS_MAX       64
#define PROTO_LOGITS            32    /* sampled of a step */
#define PROTO_JSON_BYTES        65536 /* of one value of kind JSON, as compact text */
/* Longest duration on the wire, 11.5 days: so that sums of a block's steps cannot overflow. */
#define PROTO_NS_MAX 1000000000000000ULL

#define PROTO_MESSAGE_MAP(X) \
    X(HELLO, "hello")        \
    X(OPEN, "open")          \
    X(READY, "ready")        \
    X(RUN, "run")            \
    X(BLOCK, "block")        \
    X(MEMORY, "memory")      \
    X(CHECK, "check")        \
    X(VERIFY, "verify")      \
    X(PROFILE, "profile")    \
    X(CLOSE, "close")        \
    X(BYE, "bye")            \
    X(ERROR, "error")

enum proto_type {
#define X(name, text) PROTO_##name,
    PROTO_MESSAGE_MAP(X)
#undef X
        PROTO_TYPES_COUNT
};

const char *proto_type_name(enum proto_type type);

/* hello, host to worker: versions it speaks. */
struct proto_host_hello {
    uint32_t versions_count;
    uint32_t versions[8];
    char host[PROTO_WORD_BYTES]; /* "tokmark 0.1.0" */
};

/* hello, worker to host. */
struct proto_worker_hello {
    uint32_t version; /* one of the host's */
    char engine[PROTO_WORD_BYTES];
    char engine_version[PROTO_WORD_BYTES];
    int64_t pid;
    bool is_synthetic; /* its results are made up */
    bool verifies;     /* it answers `verify` */
    bool profiles;     /* it answers `profile` */
};

/* Bytes by part; total is given, not summed, and is what the process grows by. All 0 = unknown. */
struct proto_memory_parts {
    bool is_known;
    uint64_t weights_bytes;
    uint64_t gradients_bytes;
    uint64_t optimizer_bytes;
    uint64_t activations_bytes;
    uint64_t kv_cache_bytes;
    uint64_t workspace_bytes;
    uint64_t other_bytes; /* data, threads, packing, the rest */
    uint64_t total_bytes;
};

/* Members of what the table of facts says a worker gives (spec/facts.def): named after the key. Of
 * an OR_NONE 0 is unknown, of a NUMBER NaN, of a text "", of JSON NULL; for the others
 * has_KEY says. */
#define PROTO_MEMBER_COUNT(key) \
    bool has_##key;             \
    uint64_t key;
#define PROTO_MEMBER_NS(key)             PROTO_MEMBER_COUNT(key)
#define PROTO_MEMBER_BYTES(key)          PROTO_MEMBER_COUNT(key)
#define PROTO_MEMBER_COUNT_OR_NONE(key)  uint64_t key;
#define PROTO_MEMBER_NS_OR_NONE(key)     uint64_t key;
#define PROTO_MEMBER_NUMBER(key)         double key;
#define PROTO_MEMBER_NUMBER_OR_NONE(key) double key;
#define PROTO_MEMBER_FLAG(key) \
    bool has_##key;            \
    bool key;
#define PROTO_MEMBER_TEXT(key)      char key[PROTO_WORD_BYTES];
#define PROTO_MEMBER_LONG_TEXT(key) char key[PROTO_TEXT_BYTES];
#define PROTO_MEMBER_JSON(key)      char *key; /* owned: compact JSON */

/* ready: the model is open. Release with proto_ready_release(). */
struct proto_ready {
#define READY(id, name, type, unit, group, better, meaning, null_when, reasons, key, wire) \
    PROTO_MEMBER_##wire(key)
#include "spec/facts.def"
    struct proto_memory_parts memory_predicted;
};

enum proto_sync { PROTO_SYNC_STEP, PROTO_SYNC_BLOCK };

struct proto_run {
    uint32_t steps_count; /* 1 .. PROTO_BLOCK_STEPS_MAX */
    enum proto_sync sync;
};

/* What a block reports besides its steps. proto_observation_init() makes all of it unknown. */
struct proto_observation {
#define BLOCK(id, name, type, unit, group, better, meaning, null_when, reasons, key, wire, fold) \
    PROTO_MEMBER_##wire(key)
#include "spec/facts.def"
    uint32_t experts_count;                    /* 0 = no experts or not known */
    uint64_t expert_tokens[PROTO_EXPERTS_MAX]; /* per expert, over layers and steps since open */
    uint32_t logits_count;                     /* 0 = not known, else PROTO_LOGITS */
    double logits[PROTO_LOGITS];               /* of the last step, at proto_logits_place() */
};

/* Which of the `count` logits of a step, rows one after another, sample `index` is: one of each
 * PROTO_LOGITS-th part, so that no part of a batch goes unseen. count >= PROTO_LOGITS. */
uint64_t proto_logits_place(uint32_t index, uint64_t count);

/* block: the answer to run. */
struct proto_block {
    uint32_t steps_count;
    enum proto_sync sync;
    uint64_t window_ns; /* first stamp to last */
    uint64_t *step_ns;  /* steps_count of them, owned; NULL for PROTO_SYNC_BLOCK */
    uint32_t recompiles_count;
    struct proto_observation observation;
};

/* memory: bytes now. Process values are absolute, of the worker. */
struct proto_memory {
    struct proto_memory_parts parts;
#define MEMORY(id, name, type, unit, group, better, meaning, null_when, reasons, key, wire) \
    PROTO_MEMBER_##wire(key)
#include "spec/facts.def"
    bool has_rss;
    uint64_t rss_bytes;
    uint64_t rss_baseline_bytes; /* at the worker's hello, before the model */
    uint64_t rss_peak_bytes;     /* since hello */
};

/* check, host to worker: run on given inputs with dropout 0 and write what comes out as
 * safetensors, for comparison between engines. Takes no part in any timing.
 * inputs: a safetensors file with `tokens` and `targets`, int32 (B, T).
 * Written: `logits` (B, T, V), `loss` (1), and for train cells `grad.<name>` for every parameter;
 * with train_steps > 0 that many AdamW steps on the same batch are done first and `param.<name>` is
 * written; with wants_weights `weight.<name>`, the parameters in use before any step, if the engine
 * can. For decode cells logits come from T single-token steps. All fp32. */
struct proto_check {
    char inputs_path[CELL_PATH_BYTES];
    char output_path[CELL_PATH_BYTES];
    uint32_t train_steps;
    bool wants_weights; /* also `weight.<name>`: the parameters in use, before any step */
};

struct proto_check_result {
    double loss;
    uint64_t tensors_count;
};

/* verify, host to worker: what must step `step` give, counted from open, with the weights as they
 * are now? To be computed by another way than the timed step's: nothing is measured. */
struct proto_verify {
    uint64_t step;
};

/* As much of it as the worker can tell. */
struct proto_verified {
    struct proto_observation expected;
    char why_not[PROTO_TEXT_BYTES]; /* where it can tell nothing */
};

/* profile, host to worker: the next steps under the engine's own profiler. What it took is no
 * timing of the cell: nothing is measured in that worker afterwards. */
struct proto_profile {
    uint32_t steps_count;             /* 1 .. PROTO_PROFILE_STEPS_MAX */
    char trace_path[CELL_PATH_BYTES]; /* written: Chrome trace events, as JSON */
};

/* All calls of one name. */
struct proto_operator {
    char name[PROTO_OPERATOR_BYTES];
    uint64_t calls_count;
    uint64_t self_ns; /* without what other operators within it took */
    double flops;     /* of all calls; NaN = not known */
};

struct proto_profiled {
    char profiler[PROTO_TEXT_BYTES]; /* what looked, and at what */
    uint32_t steps_count;
    uint64_t window_ns;         /* of the steps under it */
    uint64_t operators_ns;      /* of all operators, also of those that are not listed */
    uint64_t names_count;       /* of all of them */
    bool has_exchange;          /* between several devices */
    uint64_t exchange_ns;       /* in which something was exchanged, or waited for */
    uint64_t exchange_alone_ns; /* of these, while nothing was computed */
    uint32_t operators_count;
    struct proto_operator operators[PROTO_OPERATORS_MAX]; /* longest first */
};

#define PROTO_ERROR_MAP(X)        \
    X(OOM, "oom")                 \
    X(UNSUPPORTED, "unsupported") \
    X(MODEL, "model")             \
    X(INTERNAL, "internal")

enum proto_error_kind {
#define X(name, text) PROTO_ERROR_##name,
    PROTO_ERROR_MAP(X)
#undef X
        PROTO_ERROR_KINDS_COUNT
};

const char *proto_error_kind_name(enum proto_error_kind kind);

/* error: the worker could not do what was asked; it stays up for `close`. */
struct proto_error {
    enum proto_error_kind kind;
    char text[ERR_TEXT_BYTES];
    bool has_bytes; /* for oom */
    uint64_t needed_bytes;
    uint64_t available_bytes;
    char scope[PROTO_WORD_BYTES]; /* oom: "host" or "device" */
};

/* A message from a worker, decoded. Release with proto_message_release(). */
struct proto_worker_message {
    enum proto_type type;
    union {
        struct proto_worker_hello hello;
        struct proto_ready ready;
        struct proto_block block;
        struct proto_memory memory;
        struct proto_check_result check;
        struct proto_verified verify;
        struct proto_profiled profile;
        struct proto_error error;
    } as; /* nothing for BYE */
};

/* A message from a host, decoded. */
struct proto_host_message {
    enum proto_type type;
    union {
        struct proto_host_hello hello;
        struct cell open;
        struct proto_run run;
        struct proto_check check;
        struct proto_verify verify;
        struct proto_profile profile;
    } as; /* nothing for MEMORY and CLOSE */
};

/* Encoders append one line with its '\n' to `out`. */
void proto_encode_host(const struct proto_host_message *message, struct buf *out);
void proto_encode_worker(const struct proto_worker_message *message, struct buf *out);

/* Decoders take one line without its '\n'. STATUS_PROTOCOL with what was wrong and the start of the
 * line. *ret_message owns what it points to. */
MUST_CHECK enum status proto_decode_host(const char *line, size_t line_bytes,
                                         struct proto_host_message *ret_message, struct err *err);
MUST_CHECK enum status proto_decode_worker(const char *line, size_t line_bytes,
                                           struct proto_worker_message *ret_message,
                                           struct err *err);
void proto_worker_message_release(struct proto_worker_message *message);
/* For those that keep a `ready` beyond its message. Both free what it owns (values of kind JSON);
 * the second leaves the rest as it is, so that plain copies of it are whole. */
void proto_ready_release(struct proto_ready *ready);
void proto_ready_drop_json(struct proto_ready *ready);
void proto_observation_init(struct proto_observation *observation);

#endif
