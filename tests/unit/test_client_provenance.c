#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "client/provenance.h"

static bool contradicts_beside(const char *kept, const char *precision_name, const char *param,
                               const char *compute, bool has_tf32)
{
    enum cell_precision precision = CELL_PRECISION_COUNT;
    for (int i = 0; i < CELL_PRECISION_COUNT; i++)
        if (strcmp(cell_precision_name((enum cell_precision)i), precision_name) == 0)
            precision = (enum cell_precision)i;
    struct proto_ready ready = {.has_tf32 = true, .tf32 = has_tf32};
    snprintf(ready.dtype_param, sizeof(ready.dtype_param), "%s", param);
    snprintf(ready.dtype_compute, sizeof(ready.dtype_compute), "%s", compute);
    snprintf(ready.dtype_kept, sizeof(ready.dtype_kept), "%s", kept);
    char text[REASON_TEXT_BYTES] = "";
    bool found = provenance_contradicts(precision, &ready, text);
    cr_assert_eq(found, text[0] != '\0');
    cr_assert(!found || strstr(text, precision_name) == text, "%s", text);
    return found;
}

static bool contradicts(const char *precision_name, const char *param, const char *compute,
                        bool has_tf32)
{
    return contradicts_beside("", precision_name, param, compute, has_tf32);
}

Test(client_provenance, what_engines_say_of_honest_cells_is_fine)
{
    cr_expect_not(contradicts("fp32", "fp32", "fp32", false));
    cr_expect_not(contradicts("bf16", "fp32", "bf16", false));
    cr_expect_not(contradicts("bf16", "fp32", "bf16 81 %, fp32 19 %", false));
    cr_expect_not(contradicts("bf16", "bf16", "bf16", false));
    cr_expect_not(contradicts("bf16", "fp32", "bf16, run as fp32 12", false));
    cr_expect_not(contradicts("bf16-pure", "bf16", "bf16", false));
    cr_expect_not(contradicts("bf16-pure", "bf16+fp32", "bf16", false));
    cr_expect_not(contradicts("fp16", "fp32", "fp16", false));
    cr_expect_not(contradicts("tf32", "fp32", "tf32", true));
    cr_expect_not(contradicts("tf32", "fp32", "fp32", true));
    cr_expect_not(contradicts("int8", "int8", "int8", false));
    cr_expect_not(contradicts("fp32", "fp32", "fp32 90 %, fp64 10 %", false));
}

Test(client_provenance, what_is_not_said_contradicts_nothing)
{
    cr_expect_not(contradicts("bf16", "", "", false));
    cr_expect_not(contradicts("bf16", "float9", "posit16", false));
}

Test(client_provenance, another_precision_is_found)
{
    cr_expect(contradicts("bf16", "fp32", "fp32", false), "the published script on a CPU");
    cr_expect(contradicts("bf16", "fp32", "fp32 70 %, bf16 30 %", false), "most of it is not");
    cr_expect(contradicts("fp32", "fp32", "tf32", true));
    cr_expect(contradicts("fp32", "fp32", "fp32 80 %, bf16 20 %", false), "in part narrower");
    cr_expect(contradicts("fp32", "bf16", "fp32", false));
    cr_expect(contradicts("fp32", "fp32+fp16", "fp32", false));
    cr_expect(contradicts("tf32", "fp32", "fp32", false), "allowed, but not on");
    cr_expect(contradicts("bf16-pure", "fp32", "bf16", false));
    cr_expect(contradicts("bf16", "fp32", "bf16 90 %, fp8 10 %", false));
    cr_expect(contradicts("fp16", "fp32", "bf16", false));
}

Test(client_provenance, types_that_are_kept_on_purpose_are_no_wrong_precision)
{
    const char *fp32 = "fp32: 2 of 26 parameters (lm_head.weight, norm.weight)";
    const char *mixed = "fp32 60 %, bf16 40 %";
    cr_expect_not(contradicts_beside(fp32, "bf16-pure", "bf16+fp32", mixed, false));
    cr_expect_not(contradicts_beside(fp32, "bf16-pure", "fp32+bf16", "bf16", false));
    const char *both = "fp64: 1 of 9 parameters (a); bf16: 1 of 9 parameters (b)";
    mixed = "fp32 90 %, bf16 10 %";
    cr_expect_not(contradicts_beside(both, "fp32", "fp32+bf16+fp64", mixed, false));
    mixed = "fp64 70 %, fp32 30 %";
    cr_expect_not(contradicts_beside(both, "fp32", "fp64+fp32", mixed, false));
}

Test(client_provenance, what_is_kept_excuses_nothing_else)
{
    const char *fp32 = "fp32: 2 of 26 parameters (fp16, bf16.weight)";
    cr_expect(contradicts_beside(fp32, "bf16-pure", "bf16+fp32", "fp32", false), "none is bf16");
    cr_expect(contradicts_beside(fp32, "bf16-pure", "fp32", "bf16", false), "none is bf16");
    cr_expect(contradicts_beside(fp32, "bf16-pure", "fp16+fp32", "bf16", false));
    cr_expect(contradicts_beside(fp32, "fp32", "fp32+fp16", "fp32", false), "a name, not a type");
    const char *bf16 = "bf16: 20 of 26 parameters (a, b, c, ...)";
    cr_expect(contradicts_beside(bf16, "fp32", "bf16+fp32", "fp32", false), "most are narrower");
    cr_expect(contradicts_beside(bf16, "fp32", "fp32+bf16", "bf16 90 %, fp32 10 %", false));
}
