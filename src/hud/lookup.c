#include "hud/lookup.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

#define SLOTS_START ((size_t)256)

void lookup_clear(struct lookup *lookup)
{
    free(lookup->keys);
    free(lookup->values);
    *lookup = (struct lookup){0};
}

static size_t find_slot(const struct lookup *lookup, uint64_t key)
{
    size_t at = (size_t)key & (lookup->slots_count - 1);
    while (lookup->values[at] != LOOKUP_NONE && lookup->keys[at] != key)
        at = (at + 1) & (lookup->slots_count - 1);
    return at;
}

uint32_t lookup_get(const struct lookup *lookup, uint64_t key)
{
    return lookup->slots_count > 0 ? lookup->values[find_slot(lookup, key)] : LOOKUP_NONE;
}

static enum status grow(struct lookup *lookup, struct err *err)
{
    struct lookup larger = {.slots_count =
                                lookup->slots_count > 0 ? 2 * lookup->slots_count : SLOTS_START};
    larger.keys = calloc(larger.slots_count, sizeof(*larger.keys));
    larger.values = malloc(larger.slots_count * sizeof(*larger.values));
    if (larger.keys == NULL || larger.values == NULL) {
        lookup_clear(&larger);
        return ERR(err, STATUS_NOMEM, "no memory for %zu cells", lookup->count);
    }
    memset(larger.values, 0xFF, larger.slots_count * sizeof(*larger.values));
    for (size_t i = 0; i < lookup->slots_count; i++) {
        if (lookup->values[i] == LOOKUP_NONE)
            continue;
        size_t at = find_slot(&larger, lookup->keys[i]);
        larger.keys[at] = lookup->keys[i];
        larger.values[at] = lookup->values[i];
    }
    larger.count = lookup->count;
    lookup_clear(lookup);
    *lookup = larger;
    return STATUS_OK;
}

enum status lookup_set(struct lookup *lookup, uint64_t key, uint32_t value, struct err *err)
{
    /* Three quarters full at most. */
    if (4 * (lookup->count + 1) > 3 * lookup->slots_count)
        TRY(grow(lookup, err));
    size_t at = find_slot(lookup, key);
    lookup->count += lookup->values[at] == LOOKUP_NONE;
    lookup->keys[at] = key;
    lookup->values[at] = value;
    return STATUS_OK;
}

/* --- texts --- */

void lexicon_release(struct lexicon *lexicon)
{
    for (size_t i = 0; i < lexicon->count; i++)
        free(lexicon->texts[i]);
    free(lexicon->texts);
    lookup_clear(&lexicon->lookup);
    *lexicon = (struct lexicon){0};
}

enum status lexicon_add(struct lexicon *lexicon, const char *text, uint32_t *ret_number,
                        struct err *err)
{
    uint64_t key = hash_u64(text, strlen(text));
    uint32_t number = lookup_get(&lexicon->lookup, key);
    if (number == LOOKUP_NONE) {
        if (lexicon->count == lexicon->capacity) {
            size_t capacity = lexicon->capacity > 0 ? 2 * lexicon->capacity : 64;
            char **texts = reallocarray(lexicon->texts, capacity, sizeof(*texts));
            if (texts == NULL)
                return ERR(err, STATUS_NOMEM, "no memory for %zu names", capacity);
            lexicon->texts = texts;
            lexicon->capacity = capacity;
        }
        char *copy = strdup(text);
        if (copy == NULL)
            return ERR(err, STATUS_NOMEM, "no memory for %zu names", lexicon->count);
        lexicon->texts[lexicon->count] = copy;
        number = (uint32_t)lexicon->count++;
        TRY(lookup_set(&lexicon->lookup, key, number, err));
    }
    *ret_number = number;
    return STATUS_OK;
}

const char *lexicon_text(const struct lexicon *lexicon, uint32_t number)
{
    return number < lexicon->count ? lexicon->texts[number] : "";
}
