/* hud/lookup.h - a hash table from 64-bit keys to numbers, and texts that are kept once. */
#ifndef HUD_LOOKUP_H
#define HUD_LOOKUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

#define LOOKUP_NONE UINT32_MAX

/* Zeroed it is empty. */
struct lookup {
    uint64_t *keys;   /* owned */
    uint32_t *values; /* owned; LOOKUP_NONE = a free place */
    size_t slots_count, count;
};

void lookup_clear(struct lookup *lookup);
/* LOOKUP_NONE: it is not there. */
uint32_t lookup_get(const struct lookup *lookup, uint64_t key);
/* A key that is there gets the new value. STATUS_NOMEM. */
MUST_CHECK enum status lookup_set(struct lookup *lookup, uint64_t key, uint32_t value,
                                  struct err *err);

/* Texts by number, in the order in which they came. Zeroed there are none. */
struct lexicon {
    struct lookup lookup;
    char **texts; /* owned */
    size_t count, capacity;
};

void lexicon_release(struct lexicon *lexicon);
/* The number of that text, which may be new. STATUS_NOMEM. */
MUST_CHECK enum status lexicon_add(struct lexicon *lexicon, const char *text, uint32_t *ret_number,
                                   struct err *err);
/* "" for a number that is none. Borrowed: for the lexicon's life. */
const char *lexicon_text(const struct lexicon *lexicon, uint32_t number);

#endif
