#include <criterion/criterion.h>
#include <string.h>

#include "spec/parallel.h"

Test(spec_parallel, a_layout_has_one_spelling_and_its_factors)
{
    static const struct {
        const char *given;
        uint32_t devices;
        const char *settled;
        struct parallel layout;
        uint32_t row_shares;
    } rows[] = {
        {"none", 1, "", {1, 1, 1, 1}, 1},
        {"ddp", 2, "ddp", {.ddp = 2, 1, 1, 1}, 2},
        {"fsdp", 4, "fsdp", {1, .fsdp = 4, 1, 1}, 4},
        {"fsdp:4", 4, "fsdp", {1, .fsdp = 4, 1, 1}, 4},
        {"tp", 4, "tp", {1, 1, 1, .tp = 4}, 1},
        {"ep:2", 2, "ep", {1, 1, .ep = 2, 1}, 2},
        {"fsdp:2,tp:2", 4, "fsdp:2,tp:2", {1, 2, 1, 2}, 2},
        {"tp:2,fsdp:4", 8, "fsdp:4,tp:2", {1, 4, 1, 2}, 4},
        {"tp:4,ddp:2", 8, "ddp:2,tp:4", {2, 1, 1, 4}, 2},
        {"fsdp:2,ddp:2", 4, "ddp:2,fsdp:2", {2, 2, 1, 1}, 4},
        {"ep:2,fsdp:2", 4, "fsdp:2,ep:2", {1, 2, 2, 1}, 4},
        {"tp:8,fsdp:1024,ddp:1024",
         8388608,
         "ddp:1024,fsdp:1024,tp:8",
         {1024, 1024, 1, 8},
         1048576},
    };
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        char text[PARALLEL_TEXT_BYTES] = "";
        struct err err = {0};
        cr_assert_eq(parallel_settle(rows[i].given, rows[i].devices, text, &err), STATUS_OK,
                     "%s: %s", rows[i].given, err.text);
        cr_expect_str_eq(text, rows[i].settled);
        struct parallel layout = parallel_of(text, rows[i].devices);
        cr_expect_eq(memcmp(&layout, &rows[i].layout, sizeof(layout)), 0, "%s", rows[i].given);
        cr_expect_eq(parallel_row_shares(&layout), rows[i].row_shares, "%s", rows[i].given);
        if (text[0] == '\0')
            continue;
        char again[PARALLEL_TEXT_BYTES] = "";
        cr_assert_eq(parallel_settle(text, rows[i].devices, again, &err), STATUS_OK);
        cr_expect_str_eq(again, text);
    }
}

Test(spec_parallel, what_is_none_names_the_nearest)
{
    static const struct {
        const char *given;
        uint32_t devices;
        const char *said;
    } rows[] = {
        {"fdsp", 2, "did you mean 'fsdp'?"},
        {"", 2, "there is no layout ''"},
        {"pp", 2, "there is no layout 'pp'"},
        {"fsdp,tp:2", 4, "over how many devices each divides: fsdp:2"},
        {"fsdp:2,tp", 4, "over how many devices each divides: tp:2"},
        {"fsdp:2,", 4, "there is no layout ''"},
        {"none,fsdp:2", 2, "there is no layout 'none'"},
        {"tp:2,tp:2", 4, "tp is there twice"},
        {"tp:1", 2, "the least is tp:2"},
        {"tp:x", 2, "the least is tp:2"},
        {"fsdp:1025", 2, "largest is 1024"},
        {"ep:2,tp:2", 4, "ep and tp divide the same matrices"},
        {"ddp:1024,fsdp:1024,tp:1024,ep:1024", 2, "too long for a layout"},
        {"fsdp:4", 2, "'fsdp:4' is for 4 devices, and there are 2; the nearest is fsdp,"},
        {"fsdp:2,tp:2", 2, "is for 4 devices, and there are 2; the nearest is tp,"},
        {"tp:2,fsdp:2", 8, "is for 4 devices, and there are 8; the nearest is fsdp:4,tp:2,"},
        {"ddp:2,tp:4", 6, "is for 8 devices, and there are 6; the nearest is ddp:2,tp:3,"},
        {"ddp:2,fsdp:2,tp:2", 4, "is for 8 devices, and there are 4; the nearest is fsdp:2,tp:2,"},
        {"fsdp:2,tp:2", 1, "is for 4 devices, and there are 1; the nearest is none,"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        char text[PARALLEL_TEXT_BYTES] = "as it was";
        struct err err = {0};
        cr_assert_eq(parallel_settle(rows[i].given, rows[i].devices, text, &err), STATUS_INVALID,
                     "%s", rows[i].given);
        cr_expect(strstr(err.text, rows[i].said) != NULL, "%s: %s", rows[i].given, err.text);
        cr_expect_str_eq(text, "as it was");
    }
}
