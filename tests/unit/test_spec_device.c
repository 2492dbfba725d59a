#include <criterion/criterion.h>

#include "spec/device.h"

Test(spec_device, a_name_says_how_many_devices_and_which_is_the_first)
{
    static const struct {
        const char *name;
        uint32_t count;
        bool is_host;
        const char *first;
    } cases[] = {
        {"cpu", 1, true, "cpu"},          {"cpu:2", 2, true, "cpu"},
        {"cuda:0", 1, false, "cuda:0"},   {"cuda:7", 1, false, "cuda:7"},
        {"cuda:0-3", 4, false, "cuda:0"}, {"cuda:10-11", 2, false, "cuda:10"},
        {"gpu", 1, false, "gpu"},         {"tpu", 1, false, "tpu"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char first[DEVICE_NAME_BYTES];
        device_first(cases[i].name, first);
        cr_assert_eq(device_count(cases[i].name), cases[i].count, "%s", cases[i].name);
        cr_assert_eq(device_is_host(cases[i].name), cases[i].is_host, "%s", cases[i].name);
        cr_assert_str_eq(first, cases[i].first);
    }
}
