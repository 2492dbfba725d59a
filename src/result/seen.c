#include "result/seen.h"

#include <stdlib.h>

#define CAPACITY_START ((size_t)1 << 12)
#define CAPACITY_MAX   ((size_t)1 << 30)

struct seen {
    struct hash_wide *keys; /* owned; all zero bits: free */
    size_t capacity;        /* a power of two */
    size_t count;
    bool has_zero;
};

enum status seen_new(struct seen **ret_seen, struct err *err)
{
    struct seen *seen = calloc(1, sizeof(*seen));
    struct hash_wide *keys = calloc(CAPACITY_START, sizeof(*keys));
    if (seen == NULL || keys == NULL) {
        free(seen);
        free(keys);
        return ERR(err, STATUS_NOMEM, "no memory for the keys of records");
    }
    *seen = (struct seen){.keys = keys, .capacity = CAPACITY_START};
    *ret_seen = seen;
    return STATUS_OK;
}

void seen_free(struct seen *seen)
{
    if (seen == NULL)
        return;
    free(seen->keys);
    free(seen);
}

static bool is_zero(struct hash_wide key)
{
    return key.high == 0 && key.low == 0;
}

/* The place of the key, or the free one where it belongs. */
static size_t find(const struct hash_wide *keys, size_t capacity, struct hash_wide key)
{
    size_t at = (size_t)key.low & (capacity - 1);
    while (!is_zero(keys[at]) && (keys[at].low != key.low || keys[at].high != key.high))
        at = (at + 1) & (capacity - 1);
    return at;
}

static enum status grow(struct seen *seen, struct err *err)
{
    size_t capacity = seen->capacity * 2;
    struct hash_wide *keys = capacity <= CAPACITY_MAX ? calloc(capacity, sizeof(*keys)) : NULL;
    if (keys == NULL)
        return ERR(err, STATUS_NOMEM, "no memory for the keys of %zu records", seen->count);
    for (size_t i = 0; i < seen->capacity; i++)
        if (!is_zero(seen->keys[i]))
            keys[find(keys, capacity, seen->keys[i])] = seen->keys[i];
    free(seen->keys);
    seen->keys = keys;
    seen->capacity = capacity;
    return STATUS_OK;
}

enum status seen_add(struct seen *seen, struct hash_wide key, bool *ret_is_new, struct err *err)
{
    if (is_zero(key)) {
        *ret_is_new = !seen->has_zero;
        seen->has_zero = true;
        return STATUS_OK;
    }
    if (2 * (seen->count + 1) > seen->capacity) {
        enum status status = grow(seen, err);
        if (status != STATUS_OK)
            return status;
    }
    size_t at = find(seen->keys, seen->capacity, key);
    *ret_is_new = is_zero(seen->keys[at]);
    if (*ret_is_new) {
        seen->keys[at] = key;
        seen->count++;
    }
    return STATUS_OK;
}
