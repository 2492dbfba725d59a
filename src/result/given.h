/* result/given.h - values that the table of facts says a worker gives (spec/facts.def): what
 * becomes of those of a trial's blocks, and how all of them come into the record. Rows whose value
 * needs more than that are set again afterwards, by the part that computes them.
 */
#ifndef RESULT_GIVEN_H
#define RESULT_GIVEN_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/message.h"
#include "result/record.h"

enum {
#define BLOCK(id, ...) GIVEN_BLOCK_##id,
#include "spec/facts.def"
    GIVEN_BLOCK_FIELDS
};

/* One value over the blocks so far, by the row's fold. */
struct given_fold {
    bool is_known;
    bool is_lacking; /* a measured block came without it */
    uint64_t whole;
    double real;
};

/* A trial's blocks; zeroed: none yet. */
struct given_blocks {
    uint64_t steps_count; /* measured */
    struct given_fold folds[GIVEN_BLOCK_FIELDS];
};

void given_blocks_add(struct given_blocks *blocks, const struct proto_block *block,
                      bool is_measured);
/* Of a COUNT, NS or BYTES, folded; 0 where no block said it. */
uint64_t given_blocks_u64(const struct given_blocks *blocks, enum fact_id id);

/* Why a value is not there. */
struct given_why {
    bool is_synthetic;   /* the worker makes its numbers up: fields that list it are null */
    bool has_several;    /* devices: "one_device" is no reason of theirs */
    const char *missing; /* the trial ended before the reply: a word. Borrowed for the call */
};

/* Every field that `ready` gives. NULL: there was no such reply. */
void given_put_ready(const struct proto_ready *ready, const struct given_why *why,
                     struct record *record);
void given_put_memory(const struct proto_memory *memory, const struct given_why *why,
                      struct record *record);
void given_put_blocks(const struct given_blocks *blocks, const struct given_why *why,
                      struct record *record);

#endif
