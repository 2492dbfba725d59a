#include "store/index.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/hash.h"

#define INDEX_FIRST_SLOTS   64
#define INDEX_KEY_BYTES_MAX (8U << 20)

void index_release(struct store_index *index)
{
    for (size_t i = 0; i < index->slots_count; i++)
        free(index->slots[i]);
    free(index->slots);
    *index = (struct store_index){0};
}

/* Lengths in front keep two different tuples from ever making the same text. */
static void make_key(struct buf *key, const char *cell_id, const char *policy_id, uint64_t trial,
                     const char *environment_id)
{
    buf_init(key, INDEX_KEY_BYTES_MAX);
    buf_appendf(key, "%zu %zu %" PRIu64 " %s%s%s", strlen(cell_id), strlen(policy_id), trial,
                cell_id, policy_id, environment_id);
}

/* The slot that holds `key`, or the free one where it belongs. The table is never full. */
static size_t find_slot(char *const *slots, size_t slots_count, const char *key)
{
    size_t slot = (size_t)hash_u64(key, strlen(key)) & (slots_count - 1);
    while (slots[slot] != NULL && strcmp(slots[slot], key) != 0)
        slot = (slot + 1) & (slots_count - 1);
    return slot;
}

static bool grow(struct store_index *index)
{
    size_t slots_count = index->slots_count == 0 ? INDEX_FIRST_SLOTS : index->slots_count * 2;
    char **slots = calloc(slots_count, sizeof(*slots));
    if (slots == NULL)
        return false;
    for (size_t i = 0; i < index->slots_count; i++)
        if (index->slots[i] != NULL)
            slots[find_slot(slots, slots_count, index->slots[i])] = index->slots[i];
    free(index->slots);
    index->slots = slots;
    index->slots_count = slots_count;
    return true;
}

enum status index_add(struct store_index *index, const char *cell_id, const char *policy_id,
                      uint64_t trial, const char *environment_id, struct err *err)
{
    struct buf key;
    make_key(&key, cell_id, policy_id, trial, environment_id);
    bool is_added = !key.failed;
    if (is_added && (index->keys_count + 1) * 2 > index->slots_count)
        is_added = grow(index);
    if (is_added) {
        size_t slot = find_slot(index->slots, index->slots_count, key.data);
        if (index->slots[slot] == NULL) {
            index->slots[slot] = strdup(key.data);
            is_added = index->slots[slot] != NULL;
            index->keys_count += is_added ? 1 : 0;
        }
    }
    buf_release(&key);
    return is_added ? STATUS_OK : ERR(err, STATUS_NOMEM, "no memory for the index of records");
}

bool index_has(const struct store_index *index, const char *cell_id, const char *policy_id,
               uint64_t trial, const char *environment_id)
{
    if (index->slots_count == 0)
        return false;
    struct buf key;
    make_key(&key, cell_id, policy_id, trial, environment_id);
    bool is_there =
        !key.failed && index->slots[find_slot(index->slots, index->slots_count, key.data)] != NULL;
    buf_release(&key);
    return is_there;
}
