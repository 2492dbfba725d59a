#include <criterion/criterion.h>
#include <string.h>

#include "plan/order.h"

Test(plan_order, every_place_once_and_again_the_same)
{
    for (uint32_t trial = 0; trial < 4; trial++) {
        size_t order[50], again[50];
        bool is_there[50] = {false};
        plan_shuffle(7, trial, 50, order);
        plan_shuffle(7, trial, 50, again);
        cr_assert_arr_eq(order, again, sizeof(order));
        for (size_t i = 0; i < 50; i++) {
            cr_assert_lt(order[i], 50);
            cr_assert_not(is_there[order[i]]);
            is_there[order[i]] = true;
        }
    }
    size_t one[] = {9};
    plan_shuffle(7, 0, 0, one);
    cr_assert_eq(one[0], 9, "nothing to shuffle");
    plan_shuffle(7, 0, 1, one);
    cr_assert_eq(one[0], 0);
}

/* By the definition, computed apart from this program (random_at as in base/random.h, in Python):
 * key = random_key(random_key(seed, 0x6f72646572), trial); for left = n .. 2 swap places left - 1
 * and random_at(key, left) % left. */
Test(plan_order, agrees_with_its_definition)
{
    static const size_t wanted[][6] = {{0, 1, 5, 3, 4, 2}, {4, 1, 3, 5, 0, 2}, {4, 0, 5, 3, 2, 1}};
    for (uint32_t trial = 0; trial < 3; trial++) {
        size_t order[6];
        plan_shuffle(0, trial, 6, order);
        cr_assert_arr_eq(order, wanted[trial], sizeof(order));
    }
}

Test(plan_order, seeds_and_trials_differ_and_no_place_is_favoured)
{
    size_t counts[6][6] = {{0}};
    for (uint32_t trial = 0; trial < 6000; trial++) {
        size_t order[6];
        plan_shuffle(3, trial, 6, order);
        for (size_t i = 0; i < 6; i++)
            counts[i][order[i]]++;
    }
    /* 1000 are expected, with a standard deviation of 29. */
    for (size_t i = 0; i < 6; i++)
        for (size_t j = 0; j < 6; j++)
            cr_expect(counts[i][j] > 855 && counts[i][j] < 1145, "cell %zu is %zu times at %zu", j,
                      counts[i][j], i);
    size_t order[20], other[20];
    plan_shuffle(3, 0, 20, order);
    plan_shuffle(4, 0, 20, other);
    cr_expect_neq(memcmp(order, other, sizeof(order)), 0);
}
