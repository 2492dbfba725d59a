/* spec/verdict.h - the outcome of a cell, and machine-readable reasons. */
#ifndef SPEC_VERDICT_H
#define SPEC_VERDICT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/json_write.h"
#include "base/status.h"

/* Append only: stored in records. */
#define VERDICT_MAP(X)                  \
    X(OK, "ok")                         \
    X(UNSTEADY, "unsteady")             \
    X(INVALID, "invalid")               \
    X(UNSUPPORTED, "unsupported")       \
    X(OOM, "oom")                       \
    X(TIMEOUT, "timeout")               \
    X(CRASHED, "crashed")               \
    X(PROTOCOL_ERROR, "protocol_error") \
    X(INTERRUPTED, "interrupted")

enum verdict {
#define X(name, text) VERDICT_##name,
    VERDICT_MAP(X)
#undef X
        VERDICT_COUNT
};

const char *verdict_name(enum verdict verdict);
/* False when `text` is no verdict. */
bool verdict_parse(const char *text, enum verdict *ret_verdict);
/* A finished outcome is not measured again by --resume: ok, unsteady, invalid, unsupported, oom.
 * The others (timeout, crashed, protocol_error, interrupted) say nothing final about the cell. */
bool verdict_is_finished(enum verdict verdict);
/* May measuring again give another verdict? Yes if the machine at that moment decided: CPU
 * contention, memory that others held. Then a verdict that is finished otherwise is not. */
bool verdict_may_pass(const char *deciding_code);

#define REASON_CODE_BYTES 48
#define REASON_TEXT_BYTES 512
#define REASONS_MAX       16

/* code: stable snake_case word ("memory_does_not_fit"); text: for people, with numbers. */
struct reason {
    char code[REASON_CODE_BYTES];
    char text[REASON_TEXT_BYTES];
};

#define REASON_SHORT_BYTES_MAX 180

/* How much of a text says what decided: all up to the first "; ", where details follow. What others
 * wrote may be longer than REASON_SHORT_BYTES_MAX: then up to a space before that. */
size_t reason_short_bytes(const char *text);

struct reasons {
    size_t count;
    struct reason items[REASONS_MAX];
};

/* The first REASONS_MAX are kept; a code already there is not added again. */
void reasons_add(struct reasons *reasons, const char *code, const char *format, ...)
    PRINTF_LIKE(3, 4);
/* A verdict with its reasons; the first verdict that is not OK stays. Warnings say what may have
 * disturbed the result, or how well it is known, and never change the verdict. */
struct judgement {
    enum verdict verdict;
    struct reasons reasons;
    struct reasons warnings;
};

void judgement_add(struct judgement *judgement, enum verdict verdict, const char *code,
                   const char *format, ...) PRINTF_LIKE(4, 5);
/* The same verdict for each. */
void judgement_add_all(struct judgement *judgement, enum verdict verdict,
                       const struct reasons *reasons);

void judgement_warn(struct judgement *judgement, const char *code, const char *format, ...)
    PRINTF_LIKE(3, 4);
void judgement_warn_all(struct judgement *judgement, const struct reasons *warnings);

/* Did a cell with that outcome not fit in memory by itself? Where others had taken the host's,
 * nothing follows for larger cells. */
bool reasons_prove_unfit(enum verdict verdict, const struct reasons *reasons);
bool reasons_have(const struct reasons *reasons, const char *code);
/* The first is the one that decided; "" where there is none. */
const char *reasons_deciding(const struct reasons *reasons);
/* What reasons_write() wrote, of this or another version: what has no code is left out. */
void reasons_read(const json_t *array, struct reasons *ret_reasons);
/* An array of {code, text, cure}, as records hold it. `cure` is the hint (hint.h), left out where
 * there is none. */
void reasons_write(const struct reasons *reasons, struct json_writer *writer);

#endif
