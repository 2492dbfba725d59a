#include <criterion/criterion.h>

#include "plan/size_search.h"

/* Searches for `limit`, the largest that fits; gives how many trials that took. */
static uint32_t trials(uint32_t guess, uint32_t most, uint32_t limit)
{
    struct size_search search = size_search_of(guess, most);
    uint32_t size = 0;
    while ((size = size_search_next(&search)) != 0) {
        cr_assert(size >= 1 && size <= most, "%u", size);
        cr_assert(size != search.fits && size != search.fails, "%u is tried twice", size);
        size_search_take(&search, size, size <= limit);
        cr_assert_leq(search.tries_count, 100);
    }
    cr_assert_eq(search.fits, limit < most ? limit : most, "guess %u, most %u, limit %u", guess,
                 most, limit);
    cr_assert(search.fits == most || search.fails == search.fits + 1);
    return search.tries_count;
}

Test(plan_size_search, the_largest_that_fits_is_found_whatever_the_guess)
{
    for (uint32_t most = 1; most <= 40; most++)
        for (uint32_t limit = 0; limit <= most + 1; limit++)
            for (uint32_t guess = 0; guess <= most + 1; guess++)
                (void)trials(guess, most, limit);
}

Test(plan_size_search, a_right_guess_takes_two_trials)
{
    cr_expect_eq(trials(37, 1000, 37), 2);
    cr_expect_eq(trials(38, 1000, 37), 2, "one too many, and the one below");
    cr_expect_leq(trials(40, 1000, 37), 4);
    cr_expect_leq(trials(34, 1000, 37), 6);
}

Test(plan_size_search, without_a_guess_trials_double)
{
    cr_expect_leq(trials(0, 1048576, 37), 12);
    cr_expect_leq(trials(0, 1048576, 1048576), 21);
    cr_expect_eq(trials(0, 1048576, 0), 1);
}
