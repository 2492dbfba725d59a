#include "drive/pair.h"

#include <criterion/criterion.h>

Test(drive_pair, rounds_are_counterbalanced)
{
    char order[9] = "";
    for (size_t round = 0; round < 2; round++)
        for (size_t i = 0; i < 4; i++)
            order[4 * round + i] = *pair_title(pair_order(round, i));
    cr_assert_str_eq(order, "ABBABAAB");
    cr_assert_eq(pair_order(2, 0), PAIR_A);
    cr_assert_eq(pair_order(3, 0), PAIR_B);
}

Test(drive_pair, who_is_opened_first_alternates)
{
    cr_assert_eq(pair_first(0), PAIR_A);
    cr_assert_eq(pair_first(1), PAIR_B);
    cr_assert_eq(pair_first(2), PAIR_A);
}

Test(drive_pair, blocks_are_about_4_ms_of_the_slower_side)
{
    cr_assert_eq(pair_block_steps(1e5), 40);
    cr_assert_eq(pair_block_steps(0.9e6), 4);
    cr_assert_eq(pair_block_steps(2.5e6), 2);
    cr_assert_eq(pair_block_steps(3e6), 1);
    cr_assert_eq(pair_block_steps(60e6), 1);
    cr_assert_eq(pair_block_steps(60e9), 1, "never none");
    /* with the lead-in step it is still a block that a worker takes */
    cr_assert_eq(pair_block_steps(1), PROTO_BLOCK_STEPS_MAX - 1);
}
