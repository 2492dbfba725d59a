#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plan/plan.h"

static void assert_axis(const char *text, const uint32_t *wanted, size_t count)
{
    struct plan_axis axis = {0};
    struct err err = {0};
    cr_assert_eq(plan_axis_add(&axis, text, 1 << 20, &err), STATUS_OK, "%s: %s", text, err.text);
    cr_assert_eq(axis.count, count, "%s gives %zu values", text, axis.count);
    for (size_t i = 0; i < count; i++)
        cr_assert_eq(axis.values[i], wanted[i], "%s: value %zu is %u", text, i, axis.values[i]);
}

#define AXIS(text, ...)                                              \
    do {                                                             \
        const uint32_t wanted[] = {__VA_ARGS__};                     \
        assert_axis(text, wanted, sizeof(wanted) / sizeof(*wanted)); \
    } while (0)

Test(plan_plan, the_axis_grammar)
{
    AXIS("128", 128);
    AXIS("1", 1);
    AXIS("1048576", 1048576);
    AXIS("128,512,2048", 128, 512, 2048);
    AXIS("2048,128", 2048, 128);
    AXIS("128-2048*2", 128, 256, 512, 1024, 2048);
    AXIS("128-2000*2", 128, 256, 512, 1024);
    AXIS("1-100*10", 1, 10, 100);
    AXIS("64-256+64", 64, 128, 192, 256);
    AXIS("64-250+64", 64, 128, 192);
    AXIS("1-4", 1, 2, 3, 4);
    AXIS("7-7", 7);
    AXIS("7-7*4294967295", 7);
    AXIS("1-1048576*1048576", 1, 1048576);
    AXIS("8,1-3,16-64*2", 8, 1, 2, 3, 16, 32, 64);
}

Test(plan_plan, repeats_are_dropped_and_the_order_kept)
{
    AXIS("4,2,4,2,4,1", 4, 2, 1);
    AXIS("3,1-4", 3, 1, 2, 4);
    struct plan_axis axis = {0};
    struct err err = {0};
    cr_assert_eq(plan_axis_add(&axis, "512,128", 4096, &err), STATUS_OK);
    cr_assert_eq(plan_axis_add(&axis, "128,64", 4096, &err), STATUS_OK);
    cr_assert_eq(axis.count, 3);
    cr_assert_eq(axis.values[0], 512);
    cr_assert_eq(axis.values[1], 128);
    cr_assert_eq(axis.values[2], 64);
}

/* Each word is refused with a text that names a valid one, and the axis stays as it was. */
Test(plan_plan, hostile_words_are_refused_with_the_nearest_value)
{
    const struct {
        const char *word;
        const char *names;
    } bad[] = {
        {"", "try 1"},
        {",", "try 1"},
        {",,,", "try 1"},
        {"128,,512", "try 128,512"},
        {",128", "try 128"},
        {"128,", "try 128"},
        {"0", "smallest is 1"},
        {"-5", "smallest is 1"},
        {"-", "try 1"},
        {"--", "try 1"},
        {"+5", "try 1"},
        {"4097", "largest is 4096"},
        {"10^12", "try 10"},
        {"1000000000000", "largest is 4096"},
        {"99999999999999999999999999", "largest is 4096"},
        {"12345678901234567890123456789012345678901234567890", "largest value is 4096"},
        {"1e3", "try 1"},
        {"0x80", "try 1"},
        {"128.0", "try 128"},
        {"128 512", "try 128"},
        {" 128", "try 1"},
        {"128 ", "try 128"},
        {"128, 512", "try 1"},
        {"128;512", "try 128"},
        {"abc", "try 1"},
        {"128-64", "try 64-128"},
        {"128-", "try 1"},
        {"128-*2", "try 1"},
        {"128-2048*", "*2 or more"},
        {"128-2048*1", "*2 or more"},
        {"128-2048*0", "*2 or more"},
        {"128-2048*-2", "*2 or more"},
        {"128-2048+0", "+1 or more"},
        {"128-2048+", "+1 or more"},
        {"128-2048*2*2", "*2 or more"},
        {"128-2048*2+64", "*2 or more"},
        {"128-256-512", "try 256"},
        {"128-2048*2x", "*2 or more"},
        {"128-2048*99999999999", "*2 or more"},
        {"128-4097", "largest is 4096"},
        {"0-4", "smallest is 1"},
        {"128*2", "try 128"},
        {"64,128-64", "try 64-128"},
        {"\xff\xfe", "try 1"},
        {"1-4096", "1024 values"},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        struct plan_axis axis = {.values = {42}, .count = 1};
        struct err err = {0};
        cr_assert_neq(plan_axis_add(&axis, bad[i].word, 4096, &err), STATUS_OK, "'%s'",
                      bad[i].word);
        cr_assert(strstr(err.text, bad[i].names) != NULL, "'%s': '%s' lacks '%s'", bad[i].word,
                  err.text, bad[i].names);
        cr_assert_eq(axis.count, 1, "'%s' changed the axis", bad[i].word);
    }
}

Test(plan_plan, ranges_end_before_numbers_overflow)
{
    struct plan_axis axis = {0};
    struct err err = {0};
    cr_assert_eq(plan_axis_add(&axis, "4294967295-4294967295*4294967295", UINT32_MAX, &err),
                 STATUS_OK, "%s", err.text);
    cr_assert_eq(axis.count, 1);
    cr_assert_eq(plan_axis_add(&axis, "2147483648-4294967295*2", UINT32_MAX, &err), STATUS_OK);
    cr_assert_eq(axis.count, 2);
    cr_assert_eq(plan_axis_add(&axis, "4294967290-4294967295+4294967295", UINT32_MAX, &err),
                 STATUS_OK);
    cr_assert_eq(axis.count, 3);
    cr_assert_eq(plan_axis_add(&axis, "4294967296", UINT32_MAX, &err), STATUS_INVALID);
    struct err limit = {0};
    cr_assert_eq(plan_axis_add(&axis, "1-4294967295", UINT32_MAX, &limit), STATUS_LIMIT);
    cr_assert(strstr(limit.text, "1024") != NULL, "%s", limit.text);
}

Test(plan_plan, an_axis_is_full_at_its_limit_and_not_before)
{
    struct plan_axis axis = {0};
    struct err err = {0};
    cr_assert_eq(plan_axis_add(&axis, "1-1024", 4096, &err), STATUS_OK);
    cr_assert_eq(axis.count, PLAN_AXIS_VALUES_MAX);
    cr_assert_eq(plan_axis_add(&axis, "1,1024,7", 4096, &err), STATUS_OK, "repeats need no room");
    cr_assert_eq(plan_axis_add(&axis, "1025", 4096, &err), STATUS_LIMIT);
    cr_assert_eq(axis.count, PLAN_AXIS_VALUES_MAX);
}

Test(plan_plan, a_million_values_in_one_word)
{
    const size_t count = 1000000;
    char *text = malloc(count * 8);
    size_t length = 0;
    for (size_t i = 0; i < count; i++)
        length += (size_t)snprintf(text + length, 9, "%zu,", i + 1);
    text[length - 1] = '\0';
    struct plan_axis axis = {0};
    struct err err = {0};
    cr_assert_eq(plan_axis_add(&axis, text, UINT32_MAX, &err), STATUS_LIMIT);
    cr_assert_eq(axis.count, 0);
    free(text);
}

static struct plan_axes small_axes(void)
{
    struct plan_axes axes = {
        .modes = {CELL_MODE_TRAIN, CELL_MODE_INFER},
        .modes_count = 2,
        .precisions = {CELL_PRECISION_FP32, CELL_PRECISION_BF16},
        .precisions_count = 2,
        .parallels = {"ddp", "fsdp:2,tp:2"},
        .parallels_count = 2,
        .seq_lens = {.values = {128, 512, 2048}, .count = 3},
        .batch_sizes = {.values = {8, 32}, .count = 2},
    };
    (void)snprintf(axes.base.engine, sizeof(axes.base.engine), "null");
    axes.base.seed = 7;
    axes.base.model.max_seq_len = 4096;
    return axes;
}

Test(plan_plan, cells_come_in_the_published_order)
{
    struct plan_axes axes = small_axes();
    struct plan plan = {0};
    struct err err = {0};
    cr_assert_eq(plan_make(&axes, &plan, &err), STATUS_OK);
    cr_assert_eq(plan.cells_count, 48);
    size_t i = 0;
    for (size_t half = 0; half < 4; half++) { /* two layouts, two precisions in each */
        size_t l = half / 2, p = half % 2;
        for (size_t s = 0; s < 3; s++)
            for (size_t b = 0; b < 2; b++)
                for (size_t m = 0; m < 2; m++, i++) {
                    const struct cell *cell = &plan.cells[i];
                    cr_assert_str_eq(cell->parallel, axes.parallels[l]);
                    cr_assert_eq(cell->precision, axes.precisions[p]);
                    cr_assert_eq(cell->seq_len, axes.seq_lens.values[s]);
                    cr_assert_eq(cell->batch_size, axes.batch_sizes.values[b]);
                    cr_assert_eq(cell->mode, axes.modes[m]);
                    cr_assert_eq(cell->model.max_seq_len, cell->seq_len);
                    cr_assert_str_eq(cell->engine, "null");
                    cr_assert_eq(cell->seed, 7);
                }
    }
    plan_release(&plan);
    cr_assert_null(plan.cells);
    plan_release(&plan);
    plan_release(NULL);
}

Test(plan_plan, a_length_of_the_user_s_own_stays)
{
    struct plan_axes axes = small_axes();
    struct plan plan = {0};
    struct err err = {0};
    axes.keeps_length = true;
    cr_assert_eq(plan_make(&axes, &plan, &err), STATUS_OK);
    for (size_t i = 0; i < plan.cells_count; i++)
        cr_assert_eq(plan.cells[i].model.max_seq_len, 4096);
    plan_release(&plan);
    axes.base.model.max_seq_len = axes.seq_lens.values[0];
    axes.seq_lens.values[1] = axes.seq_lens.values[0] + 1;
    cr_assert_eq(plan_make(&axes, &plan, &err), STATUS_INVALID);
    cr_assert_not_null(strstr(err.text, "less than the sequence length"), "%s", err.text);
}

Test(plan_plan, of_cells_that_are_the_same_the_first_stays)
{
    struct plan_axes axes = small_axes();
    struct plan plan = {0};
    struct err err = {0};
    cr_assert_eq(plan_make(&axes, &plan, &err), STATUS_OK);
    size_t count = plan.cells_count;
    cr_assert_geq(count, 4);
    cr_assert_eq(plan_drop_repeats(&plan, &err), STATUS_OK);
    cr_assert_eq(plan.cells_count, count);
    struct cell last = plan.cells[count - 1];
    plan.cells[1] = plan.cells[0];
    plan.cells[count - 2] = plan.cells[2];
    cr_assert_eq(plan_drop_repeats(&plan, &err), STATUS_OK);
    cr_assert_eq(plan.cells_count, count - 2);
    cr_assert_eq(memcmp(&plan.cells[count - 3], &last, sizeof(last)), 0);
    plan_release(&plan);
}

Test(plan_plan, k_is_1024)
{
    struct plan_axis axis = {0};
    struct err err = {0};
    cr_assert_eq(plan_axis_add(&axis, "4k,1K-4k*2", 1 << 20, &err), STATUS_OK, "%s", err.text);
    cr_assert_eq(axis.count, 3);
    cr_assert_eq(axis.values[0], 4096);
    cr_assert_eq(axis.values[1], 1024);
    cr_assert_eq(axis.values[2], 2048);
    static const char *const wrong[] = {"k", "4kk", "0k", "1.5k", "4m", "5000k"};
    for (size_t i = 0; i < ARRAY_COUNT(wrong); i++)
        cr_assert_neq(plan_axis_add(&axis, wrong[i], 1 << 20, &err), STATUS_OK, "%s", wrong[i]);
    cr_assert_eq(axis.count, 3);
}

Test(plan_plan, an_empty_axis_is_an_error)
{
    struct plan plan = {0};
    for (int i = 0; i < 5; i++) {
        struct plan_axes axes = small_axes();
        size_t *counts[] = {&axes.modes_count, &axes.precisions_count, &axes.seq_lens.count,
                            &axes.batch_sizes.count, &axes.parallels_count};
        *counts[i] = 0;
        struct err err = {0};
        cr_assert_eq(plan_make(&axes, &plan, &err), STATUS_INVALID);
        cr_assert_null(plan.cells);
    }
}

Test(plan_plan, too_many_cells_are_refused_before_memory_is_taken)
{
    struct plan_axes axes = small_axes();
    for (uint32_t i = 0; i < PLAN_AXIS_VALUES_MAX; i++) {
        axes.seq_lens.values[i] = i + 1;
        axes.batch_sizes.values[i] = i + 1;
    }
    axes.seq_lens.count = PLAN_AXIS_VALUES_MAX;
    axes.batch_sizes.count = PLAN_AXIS_VALUES_MAX;
    struct plan plan = {0};
    struct err err = {0};
    cr_assert_eq(plan_make(&axes, &plan, &err), STATUS_LIMIT);
    cr_assert(strstr(err.text, "100000") != NULL, "%s", err.text);
    cr_assert_null(plan.cells);
}
