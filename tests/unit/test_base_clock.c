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

Test(base_clock, stamps_as_numbers)
{
    uint64_t ns = 1;
    cr_assert(clock_stamp_ns("2026-01-02T03:04:05.678Z", &ns));
    cr_expect_eq(ns, 1767323045678000000ULL);
    cr_assert(clock_stamp_ns("1970-01-01T00:00:00Z", &ns));
    cr_expect_eq(ns, 0);
    cr_expect_not(clock_stamp_ns("1969-12-31T23:59:59.999Z", &ns));
    cr_expect_not(clock_stamp_ns("soon", &ns));
    cr_expect_eq(ns, 0, "untouched");
}

Test(base_clock, a_wait_is_rounded_up_and_has_a_limit)
{
    cr_expect_eq(clock_poll_ms(0, 1000), 0);
    cr_expect_eq(clock_poll_ms(1, 1000), 1);
    cr_expect_eq(clock_poll_ms(999999, 1000), 1);
    cr_expect_eq(clock_poll_ms(1000000, 1000), 1);
    cr_expect_eq(clock_poll_ms(1000001, 1000), 2);
    cr_expect_eq(clock_poll_ms(998999999, 1000), 999);
    cr_expect_eq(clock_poll_ms(999000001, 1000), 1000);
    cr_expect_eq(clock_poll_ms(5000000000, 1000), 1000);
    cr_expect_eq(clock_poll_ms(UINT64_MAX, 1000), 1000);
}
