#include "base/chunks.h"

#include <criterion/criterion.h>
#include <stdint.h>

TestSuite(base_chunks);

Test(base_chunks, items_are_zero_at_first_stay_where_they_are_and_holes_are_none)
{
    struct chunks chunks;
    chunks_init(&chunks, sizeof(uint64_t));
    cr_expect_null(chunks_find(&chunks, 0));
    uint64_t *first = chunks_at(&chunks, 5);
    cr_assert_not_null(first);
    cr_expect_eq(*first, 0);
    *first = 7;
    uint64_t *far = chunks_at(&chunks, 5000000);
    cr_assert_not_null(far);
    *far = 9;
    cr_expect_eq(chunks_at(&chunks, 5), first);
    cr_expect_eq(*first, 7);
    cr_expect_eq(*(uint64_t *)chunks_find(&chunks, 5000000), 9);
    cr_expect_null(chunks_find(&chunks, 2500000), "nothing near it was asked for");
    cr_expect_null(chunks_find(&chunks, SIZE_MAX / 2));
    chunks_release(&chunks);
    chunks_release(&chunks);
}

Test(base_chunks, neighbours_do_not_overlap)
{
    struct chunks chunks;
    chunks_init(&chunks, 12);
    for (uint32_t i = 0; i < 5000; i++) {
        uint32_t *item = chunks_at(&chunks, i);
        cr_assert_not_null(item);
        item[0] = item[1] = item[2] = i;
    }
    for (uint32_t i = 0; i < 5000; i++) {
        const uint32_t *item = chunks_find(&chunks, i);
        cr_assert(item[0] == i && item[1] == i && item[2] == i);
    }
    chunks_release(&chunks);
}
