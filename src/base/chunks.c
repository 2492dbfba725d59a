#include "base/chunks.h"

#include <stdlib.h>
#include <string.h>

#include "base/status.h"

#define CHUNK_ITEMS ((size_t)1024)

void chunks_init(struct chunks *chunks, size_t item_bytes)
{
    ASSERT(item_bytes > 0);
    *chunks = (struct chunks){.item_bytes = item_bytes};
}

void chunks_release(struct chunks *chunks)
{
    for (size_t i = 0; i < chunks->items_count; i++)
        free(chunks->items[i]);
    free(chunks->items);
    chunks->items = NULL;
    chunks->items_count = 0;
}

static int grow(struct chunks *chunks, size_t needed)
{
    size_t count = chunks->items_count * 2 > needed ? chunks->items_count * 2 : needed;
    char **items = realloc(chunks->items, count * sizeof(*items));
    if (items == NULL)
        return 0;
    memset(items + chunks->items_count, 0, (count - chunks->items_count) * sizeof(*items));
    chunks->items = items;
    chunks->items_count = count;
    return 1;
}

void *chunks_at(struct chunks *chunks, size_t index)
{
    size_t chunk = index / CHUNK_ITEMS;
    if (chunk >= chunks->items_count && !grow(chunks, chunk + 1))
        return NULL;
    if (chunks->items[chunk] == NULL)
        chunks->items[chunk] = calloc(CHUNK_ITEMS, chunks->item_bytes);
    return chunks_find(chunks, index);
}

void *chunks_find(const struct chunks *chunks, size_t index)
{
    size_t chunk = index / CHUNK_ITEMS;
    if (chunk >= chunks->items_count || chunks->items[chunk] == NULL)
        return NULL;
    return chunks->items[chunk] + index % CHUNK_ITEMS * chunks->item_bytes;
}
