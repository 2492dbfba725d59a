#include <criterion/criterion.h>

#include "base/clock.h"

Test(base_clock, stamps_of_other_days)
{
    char text[CLOCK_STAMP_BYTES] = "as it was";
    cr_assert(clock_stamp_shift("2026-11-28T07:01:02.345Z", 0, text));
    cr_expect_str_eq(text, "2026-11-28T07:01:02.345Z");
    cr_assert(clock_stamp_shift("2026-11-28T07:01:02.345Z", 30, text));
    cr_expect_str_eq(text, "2026-12-28T07:01:02.345Z");
    cr_assert(clock_stamp_shift("2024-03-01T00:00:00.000Z", -1, text));
    cr_expect_str_eq(text, "2024-02-29T00:00:00.000Z");
    cr_expect_not(clock_stamp_shift("t", 1, text));
    cr_expect_not(clock_stamp_shift("", 1, text));
    cr_expect_not(clock_stamp_shift("2026-13-45", 1, text));
    cr_expect_str_eq(text, "2024-02-29T00:00:00.000Z", "untouched");
}
