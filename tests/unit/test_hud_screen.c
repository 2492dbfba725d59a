#include <criterion/criterion.h>
#include <math.h>

#include "base/clock.h"
#include "hud/screen.h"

/* Four digits, thousands with commas, millions with their letter: on both sides of each bound. */
Test(hud_screen, values_are_short)
{
    static const struct {
        double value;
        const char *wanted;
    } cases[] = {
        {0, "0"},
        {1, "1.000"},
        {-1.5, "-1.500"},
        {0.0001, "0.0001000"},
        {0.00005, "5e-05"},
        {12.345, "12.35"},
        {999.94, "999.9"},
        {999.96, "1,000"},
        {1234.4, "1,234"},
        {1234.5, "1,235"},
        {100007, "100,007"},
        {999999, "999,999"},
        {999999.6, "1,000,000"},
        {1000000, "1.00 M"},
        {2.5e9, "2.50 G"},
        {(double)NAN, "-"},
        {(double)INFINITY, "-"},
        {-(double)INFINITY, "-"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        char text[NUM_TEXT_BYTES] = "as it was";
        screen_format_value(cases[i].value, text);
        cr_expect_str_eq(text, cases[i].wanted, "%.17g is %s, not %s", cases[i].value, text,
                         cases[i].wanted);
    }
}

Test(hud_screen, ages_have_two_units)
{
    static const struct {
        uint64_t seconds;
        const char *wanted;
    } cases[] = {
        {0, "0s"},       {59, "59s"},        {60, "1m00s"},  {3599, "59m59s"}, {3600, "1h00m"},
        {3661, "1h01m"}, {172799, "47h59m"}, {172800, "2d"}, {259199, "2d"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        char text[NUM_TEXT_BYTES] = "as it was";
        screen_format_age(cases[i].seconds * NS_PER_S + 999999999, text);
        cr_expect_str_eq(text, cases[i].wanted, "%s", text);
    }
}
