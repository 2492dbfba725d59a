/* base/chunks.h - items of one size by number, made in chunks when they are first asked for: an
 * item never moves, holes cost nothing, and growing copies nothing. */
#ifndef BASE_CHUNKS_H
#define BASE_CHUNKS_H

#include <stddef.h>

struct chunks {
    char **items; /* owned; NULL where no item of a chunk was asked for */
    size_t items_count;
    size_t item_bytes;
};

/* Does not allocate. `item_bytes` > 0; items are aligned where it is a multiple of their alignment.
 */
void chunks_init(struct chunks *chunks, size_t item_bytes);
/* No-op on a zeroed or released one. */
void chunks_release(struct chunks *chunks);
/* All bits 0 when it is new. NULL only when memory ends. */
void *chunks_at(struct chunks *chunks, size_t index);
/* NULL: it was never made, nor one near it. */
void *chunks_find(const struct chunks *chunks, size_t index);

#endif
