/* Rows, columns and numbers for people: what fits, what is left out, how far an interval reaches.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "base/grid.h"
#include "base/wrap.h"
#include "cli/render/progress.h"
#include "cli/render/table_row.h"

static const struct grid_column columns[] = {
    {"name", "", false, 0},
    {"ms", "ms", true, 0},
    {"memory", "MiB", true, 2},
    {"note", "", false, 1},
};

static void fill(struct grid *grid)
{
    static const char *const cells[] = {"a", "1.5", "12345.5", "x", "Größe", "20", "7", ""};
    grid_init(grid, columns, ARRAY_COUNT(columns));
    for (size_t i = 0; i < ARRAY_COUNT(cells); i++)
        grid_put(grid, i == 0 ? GRID_RED : GRID_PLAIN, cells[i]);
    cr_assert_not(grid->text.failed);
}

static void check_lines(size_t width, bool is_whole, const char *expected)
{
    struct grid grid;
    struct grid_layout layout;
    struct buf out;
    buf_init(&out, 4096);
    fill(&grid);
    cr_assert_eq(grid_lay_out(&grid, width, &layout), is_whole);
    grid_format_head(&grid, &layout, false, &out);
    for (size_t row = 0; row < 2; row++)
        grid_format_row(&grid, &layout, row, false, &out);
    grid_format_dropped(&grid, &layout, &out);
    cr_assert_str_eq(out.data, expected, "%s", out.data);
    buf_release(&out);
    grid_release(&grid);
}

Test(cli_render, columns_are_left_out_by_their_number_and_lines_have_no_end_of_spaces)
{
    check_lines(0, true,
                "name    ms   memory  note\n"
                "        ms      MiB\n"
                "a      1.5  12345.5  x\n"
                "Größe   20        7\n");
    check_lines(25, true,
                "name    ms   memory  note\n"
                "        ms      MiB\n"
                "a      1.5  12345.5  x\n"
                "Größe   20        7\n");
    check_lines(24, false,
                "name    ms  note\n"
                "        ms\n"
                "a      1.5  x\n"
                "Größe   20\n"
                "memory");
    /* What is never left out may be too wide. */
    check_lines(3, false,
                "name    ms\n"
                "        ms\n"
                "a      1.5\n"
                "Größe   20\n"
                "memory, note");
}

Test(cli_render, colours_and_markdown)
{
    struct grid grid;
    struct grid_layout layout;
    struct buf out;
    buf_init(&out, 4096);
    fill(&grid);
    (void)grid_lay_out(&grid, 0, &layout);
    grid_format_row(&grid, &layout, 0, true, &out);
    cr_assert_str_eq(out.data, "\x1b[31ma\x1b[0m      1.5  12345.5  x\n");
    buf_reset(&out);
    grid_format_markdown_head(&grid, &out);
    grid_format_markdown_row(&grid, 0, &out);
    cr_assert_str_eq(out.data, "| name | ms (ms) | memory (MiB) | note |\n"
                               "| --- | ---: | ---: | --- |\n"
                               "| a | 1.5 | 12345.5 | x |\n");
    grid_release(&grid);

    static const struct grid_column one[] = {{"a", "", false, 0}};
    grid_init(&grid, one, 1);
    grid_put(&grid, GRID_PLAIN, "x|y\nz");
    buf_reset(&out);
    grid_format_markdown_row(&grid, 0, &out);
    cr_assert_str_eq(out.data, "| x\\|y?z |\n");
    buf_release(&out);
    grid_release(&grid);
}

Test(cli_render, text_is_broken_between_words_only)
{
    static const struct {
        size_t columns, column, indent;
        const char *expected;
    } cases[] = {
        {0, 0, 2, "one two superintelligence three\n"},
        {12, 0, 2, "one two\n  superintelligence\n  three\n"},
        {12, 8, 4, "one\n    two\n    superintelligence\n    three\n"},
        {5, 0, 0, "one\ntwo\nsuperintelligence\nthree\n"},
        {17, 0, 0, "one two\nsuperintelligence\nthree\n"},
    };
    struct buf out;
    buf_init(&out, 4096);
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        buf_reset(&out);
        wrap_text("one two  superintelligence three", cases[i].columns, cases[i].column,
                  cases[i].indent, &out);
        cr_assert_str_eq(out.data, cases[i].expected, "%s", out.data);
    }
    buf_reset(&out);
    wrap_text("one two\n\nthree", 80, 2, 4, &out);
    cr_assert_str_eq(out.data, "one two\n\n    three\n");
    buf_release(&out);
}

Test(cli_render, an_interval_in_per_cent_says_each_end)
{
    static const struct {
        double value, low, high;
        const char *expected;
    } cases[] = {
        {2.066, 1.954, 3.945, "-5/+91 %"},
        {100, 98.8, 102.1, "-1.2/+2.1 %"},
        {100, 98.8, 101.2, "+-1.2 %"},
        {100, 99.96, 100.75, "-0.04/+0.75 %"},
        {100, 99.96, 112, "-0/+12 %"},
        {100, 100, 100, "+-0.00 %"},
        {100, 100.001, 101, "-0.0/+1.0 %"},
        {100, NAN, 101, "-"},
        {100, 99, INFINITY, "-"},
        {NAN, 99, 101, "-"},
        {0, 0, 0, "-"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        char text[TABLE_NUMBER_BYTES];
        table_format_interval(cases[i].value, cases[i].low, cases[i].high, text);
        cr_assert_str_eq(text, cases[i].expected, "%s", text);
    }
}

Test(cli_render, numbers_have_four_digits_and_groups)
{
    static const struct {
        double value;
        const char *expected;
    } cases[] = {
        {0.000024, "0.000024"},
        {1.5, "1.500"},
        {12.345, "12.35"},
        {999.95, "1000.0"},
        {1234.5, "1,234"},
        {16202531646, "16,202,531,646"},
        {NAN, "-"},
        {INFINITY, "-"},
        {0, "0.000"},
        {-1234567, "-1,234,567"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        char text[TABLE_NUMBER_BYTES];
        table_format_number(cases[i].value, text);
        cr_assert_str_eq(text, cases[i].expected, "%s", text);
    }
}

static const char *drawn(const struct progress *progress, size_t width, struct buf *line)
{
    progress_describe(progress, width, line);
    return line->data;
}

Test(cli_render, a_progress_line_keeps_its_number_its_state_and_the_newest_value)
{
    struct buf line;
    const struct cell cell = {.mode = CELL_MODE_TRAIN, .seq_len = 2048, .batch_size = 16};
    struct progress progress;
    progress_init(&progress, PROGRESS_REWRITE, 12, 1);
    progress.cell = &cell;
    progress.cells_done = 3;
    progress.cells_measured = 3;
    progress.measured_ns = 30 * NS_PER_S;
    progress.phase = EVENT_MEASURING;
    progress.samples_count = 1234;
    progress.median_ns = 12.34e6;
    progress.tokens_per_second = 2655591;
    progress.remaining_ns = 5 * NS_PER_S;
    buf_init(&line, 1024);
    cr_expect_str_eq(drawn(&progress, 0, &line),
                     "[4/12] train fp32 seq 2048 batch 16: measuring, samples 1234, ms_p50 12.34, "
                     "tokens_per_sec 2.66 M, cell eta 5.0s, sweep eta 85.0s");
    cr_expect_str_eq(drawn(&progress, 99, &line),
                     "[4/12] train fp32 seq 2048 batch 16: measuring, samples 1234, ms_p50 12.34, "
                     "tokens_per_sec 2.66 M");
    cr_expect_str_eq(drawn(&progress, 79, &line),
                     "[4/12] train fp32 seq 2048 batch 16: measuring, samples 1234, ms_p50 12.34");
    cr_expect_str_eq(drawn(&progress, 47, &line), "[4/12] measuring, samples 1234, ms_p50 12.34");
    cr_expect_str_eq(drawn(&progress, 39, &line), "[4/12] measuring, ms_p50 12.34");
    for (int phase = EVENT_STARTING; phase <= EVENT_CLOSING; phase++) {
        progress.phase = (enum event_phase)phase;
        progress.samples_count = 0;
        cr_expect_leq(strlen(drawn(&progress, 39, &line)), 39, "%s", line.data);
    }
    buf_release(&line);
}
