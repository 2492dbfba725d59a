#include <criterion/criterion.h>
#include <string.h>

#include "base/clock.h"
#include "telemetry/clock_check.h"

/* 500,000 multiplications of 3 to 5 cycles each at 0.5 to 8 GHz, with room for a sanitizer or a
 * neighbour: the compiler has left none out, and no processor is that slow. */
Test(telemetry_clock_check, it_takes_a_time_that_hardware_can_take)
{
    uint64_t check_ns = clock_check_measure();
    cr_expect(check_ns > 150000 && check_ns < NS_PER_S, "%lu ns", check_ns);
}

Test(telemetry_clock_check, slow_is_beyond_the_limit)
{
    char text[256] = "";
    cr_expect_not(clock_check_is_slow(1000000, 1080000, "before", text, sizeof(text)));
    cr_expect_not(clock_check_is_slow(1000000, 900000, "before", text, sizeof(text)));
    cr_expect_str_empty(text);
    cr_expect(clock_check_is_slow(1000000, 1250000, "before", text, sizeof(text)));
    cr_expect_not_null(strstr(text, "before measuring"), "%s", text);
    cr_expect_not_null(strstr(text, "1.25 ms"), "%s", text);
    cr_expect_not_null(strstr(text, "25 % longer than it has on this machine (the limit is 8 %)"),
                       "%s", text);
    cr_expect_not(clock_check_is_slow(0, 1250000, "after", text, sizeof(text)), "no reference");
    cr_expect_not(clock_check_is_slow(1000000, 0, "after", text, sizeof(text)), "not measured");
}
