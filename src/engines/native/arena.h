/* engines/native/arena.h - one block of memory for a whole cell, planned before it is taken.
 *
 * A plan is made by the same function that hands out the memory: it runs once over a layout without
 * memory, which only counts, and once over the arena.
 */
#ifndef ENGINES_NATIVE_ARENA_H
#define ENGINES_NATIVE_ARENA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "engines/native/matrix.h"
#include "engines/native/pool.h"

#define ARENA_ALIGNMENT  64
#define ARENA_HUGE_BYTES ((uint64_t)2 << 20)

struct layout {
    uintptr_t base; /* 0 while planning: then what layout_take() returns must not be used */
    uint64_t used_bytes;
    uint64_t high_bytes; /* most that was ever used */
    bool has_overflowed; /* a size passed 2^63: nothing else in here means anything */
};

/* Room for `count` elements, aligned to ARENA_ALIGNMENT. */
void *layout_take(struct layout *layout, uint64_t count, uint64_t element_bytes);
/* The same as rows without gaps. */
struct matrix layout_take_matrix(struct layout *layout, enum matrix_dtype dtype, uint64_t rows,
                                 uint64_t columns);
/* Overlays: buffers that never live at the same time. Take the first group, rewind to where it
 * began, take the next ..., and settle behind the largest. */
void layout_rewind(struct layout *layout, uint64_t used_bytes);
void layout_settle(struct layout *layout);

struct arena {
    void *mapping; /* owned */
    size_t mapping_bytes;
    char *data; /* borrowed: in `mapping`, aligned to a huge page; zero at first */
    size_t bytes;
};

/* Bytes that an arena of this size really takes: whole huge pages. */
uint64_t arena_round(uint64_t bytes);
/* Maps and asks for huge pages; touches nothing. STATUS_NOMEM. */
MUST_CHECK enum status arena_open(uint64_t bytes, struct arena *ret_arena, struct err *err);
/* Writes to every page, so that no step ever waits for one. */
void arena_touch(const struct arena *arena, struct pool *pool);
void arena_close(struct arena *arena);

#endif
