#include "engines/native/arena.h"

#include <inttypes.h>
#include <sys/mman.h>

#define LAYOUT_BYTES_MAX ((uint64_t)1 << 62)
#define PAGE_BYTES       4096

void *layout_take(struct layout *layout, uint64_t count, uint64_t element_bytes)
{
    uint64_t bytes = 0;
    if (layout->has_overflowed || __builtin_mul_overflow(count, element_bytes, &bytes) ||
        bytes > LAYOUT_BYTES_MAX - ARENA_ALIGNMENT ||
        layout->used_bytes > LAYOUT_BYTES_MAX - bytes) {
        layout->has_overflowed = true;
        return NULL;
    }
    void *place = (void *)(layout->base + (uintptr_t)layout->used_bytes);
    layout->used_bytes += (bytes + ARENA_ALIGNMENT - 1) / ARENA_ALIGNMENT * ARENA_ALIGNMENT;
    if (layout->used_bytes > layout->high_bytes)
        layout->high_bytes = layout->used_bytes;
    return place;
}

struct matrix layout_take_matrix(struct layout *layout, enum matrix_dtype dtype, uint64_t rows,
                                 uint64_t columns)
{
    uint64_t count = 0;
    if (__builtin_mul_overflow(rows, columns, &count)) {
        layout->has_overflowed = true;
        return MATRIX_NONE;
    }
    void *data = layout_take(layout, count, matrix_element_bytes(dtype));
    return matrix_make(data, dtype, (size_t)rows, (size_t)columns);
}

void layout_rewind(struct layout *layout, uint64_t used_bytes)
{
    ASSERT(used_bytes <= layout->used_bytes);
    layout->used_bytes = used_bytes;
}

void layout_settle(struct layout *layout)
{
    layout->used_bytes = layout->high_bytes;
}

uint64_t arena_round(uint64_t bytes)
{
    return (bytes + ARENA_HUGE_BYTES - 1) / ARENA_HUGE_BYTES * ARENA_HUGE_BYTES;
}

enum status arena_open(uint64_t bytes, struct arena *ret_arena, struct err *err)
{
    struct arena arena = {.bytes = (size_t)arena_round(bytes)};
    arena.mapping_bytes = arena.bytes + ARENA_HUGE_BYTES;
    arena.mapping =
        mmap(NULL, arena.mapping_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (arena.mapping == MAP_FAILED)
        return ERR(err, STATUS_NOMEM, "the system gives no %" PRIu64 " bytes", bytes);
    uint64_t begin = (uint64_t)(uintptr_t)arena.mapping;
    arena.data = (char *)arena.mapping + (arena_round(begin) - begin);
    /* Refused where the kernel has no huge pages; then small ones do. */
    (void)madvise(arena.data, arena.bytes, MADV_HUGEPAGE);
    *ret_arena = arena;
    return STATUS_OK;
}

static void touch_task(void *context, unsigned thread_index, size_t begin, size_t end)
{
    (void)thread_index;
    const struct arena *arena = context;
    for (size_t page = begin; page < end; page++)
        ((volatile char *)arena->data)[page * PAGE_BYTES] = 0;
}

void arena_touch(const struct arena *arena, struct pool *pool)
{
    struct arena copy = *arena;
    pool_run(pool, arena->bytes / PAGE_BYTES, ARENA_HUGE_BYTES / PAGE_BYTES, touch_task, &copy);
}

void arena_close(struct arena *arena)
{
    if (arena->mapping != NULL)
        (void)munmap(arena->mapping, arena->mapping_bytes);
    *arena = (struct arena){0};
}
