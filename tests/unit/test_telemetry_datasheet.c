#include <criterion/criterion.h>

#include "telemetry/datasheet.h"

/* Dense values of NVIDIA's datasheets. */
Test(telemetry_datasheet, a_card_is_found_by_the_name_that_drivers_give)
{
    static const struct {
        const char *card, *precision;
        double tera, gigabytes;
    } cases[] = {
        {"NVIDIA H100 80GB HBM3, driver for CUDA 12.8", "bf16", 989.4, 3350},
        {"NVIDIA H100 PCIe", "bf16", 756, 2000},
        {"NVIDIA H100 NVL", "fp16", 836, 3938},
        {"NVIDIA H200", "tf32", 494.7, 4800},
        {"NVIDIA A100-SXM4-80GB", "bf16", 312, 2039},
        {"NVIDIA A100 80GB PCIe", "fp32", 19.5, 1935},
        {"NVIDIA A100-SXM4-40GB", "bf16", 312, 1555},
        {"Tesla T4", "fp16", 65, 320},
        {"Tesla T4", "bf16", 0, 320},
        {"NVIDIA L4", "bf16", 121, 300},
        {"NVIDIA L40S", "bf16", 362, 864},
        {"NVIDIA H200", "int8", 0, 4800},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        double flops = -1;
        double bytes = -1;
        cr_expect(datasheet_find(cases[i].card, cases[i].precision, &flops, &bytes), "%s",
                  cases[i].card);
        cr_expect_float_eq(flops, cases[i].tera * 1e12, 1, "%s", cases[i].card);
        cr_expect_float_eq(bytes, cases[i].gigabytes * 1e9, 1, "%s", cases[i].card);
    }
}

Test(telemetry_datasheet, another_card_is_not_in_the_table)
{
    double flops = -1;
    double bytes = -1;
    static const char *const others[] = {"", "NVIDIA GeForce RTX 3090", "NVIDIA A1000", "Tesla K80",
                                         "AMD Instinct MI300X"};
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        cr_expect_not(datasheet_find(others[i], "bf16", &flops, &bytes), "%s", others[i]);
    cr_expect_eq(flops, -1);
}
