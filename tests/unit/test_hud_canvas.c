#include <criterion/criterion.h>
#include <string.h>

#include "hud/canvas.h"
#include "hud/term.h"

static void expect_text(bool is_ascii, const char *text, const char *shown)
{
    struct canvas canvas = {.is_ascii = is_ascii};
    struct buf out;
    struct err err = {0};
    (void)term_use_locale();
    buf_init(&out, 4096);
    cr_assert_eq(canvas_resize(&canvas, 1, 40, &err), STATUS_OK);
    (void)canvas_put(&canvas, 0, 0, 40, CANVAS_PLAIN, text);
    canvas_append_text(&canvas, &out);
    cr_expect_str_eq(out.data, shown);
    cr_expect_eq(canvas_width(text) + 1, canvas_width(shown)); /* and the end of the line */
    buf_release(&out);
    canvas_release(&canvas);
}

/* Whatever the locale of the tests is. */
Test(hud_canvas, texts_from_outside_cannot_move_the_cursor)
{
    expect_text(false, "plain", "plain\n");
    expect_text(false, "\x1b[2J\x07\r\n\t\x7f", "?[2J?????\n");
    expect_text(false,
                "\xC2\x9B"
                "5m",
                "?5m\n"); /* the one-byte CSI, as UTF-8 */
    expect_text(false,
                "a\xE2\x80\xAE"
                "b",
                "a?b\n");                                     /* right-to-left override */
    expect_text(false, "e\xCC\x81", "e?\n");                  /* a combining accent */
    expect_text(false, "\xE2\x80\x8B|\xEF\xBB\xBF", "?|?\n"); /* no width at all */
    expect_text(false, "\xFF\xC3(",
                "?"
                "?(\n");                       /* no UTF-8 */
    expect_text(false, "\xE5\xAD\x97", "?\n"); /* two columns */
    expect_text(false, "\xC2\xB1 \xE2\x96\xB2", "\xC2\xB1 \xE2\x96\xB2\n");
}

Test(hud_canvas, ascii_has_stand_ins)
{
    expect_text(true, "\xC2\xB1 \xE2\x96\xB2 \xE2\x9C\x93 \xC3\xA9", "~ ^ + ?\n");
}

Test(hud_canvas, texts_are_cut_at_edges)
{
    struct canvas canvas = {0};
    struct err err = {0};
    struct buf out;
    buf_init(&out, 4096);
    cr_assert_eq(canvas_resize(&canvas, 2, 8, &err), STATUS_OK);
    cr_expect_eq(canvas_put(&canvas, 0, 2, 6, CANVAS_PLAIN, "abcdefgh"), 6);
    (void)canvas_put(&canvas, 0, 6, 100, CANVAS_PLAIN, "xyz");
    (void)canvas_put(&canvas, 7, 0, 8, CANVAS_PLAIN, "no such row");
    canvas_put_right(&canvas, 1, 2, 6, CANVAS_PLAIN, "123456");
    canvas_append_text(&canvas, &out);
    cr_expect_str_eq(out.data, "  abcdxy\n  3456\n");
    buf_release(&out);
    canvas_release(&canvas);
}

Test(hud_canvas, bars_fill_by_eighths)
{
    struct canvas canvas = {0};
    struct err err = {0};
    cr_assert_eq(canvas_resize(&canvas, 1, 4, &err), STATUS_OK);
    canvas_put_bar(&canvas, 0, 0, 4, CANVAS_GRAPH, 0.40625); /* 1 column and 5 eighths */
    cr_expect_eq(canvas.chars[0].code, 0x2588);
    cr_expect_eq(canvas.chars[1].code, 0x258B);
    cr_expect_eq(canvas.chars[2].code, 0x2500);
    canvas_put_bar(&canvas, 0, 0, 4, CANVAS_GRAPH, 7);
    cr_expect_eq(canvas.chars[3].code, 0x2588);
    canvas_put_level(&canvas, 0, 0, CANVAS_GRAPH, 0);
    canvas_put_level(&canvas, 0, 1, CANVAS_GRAPH, 2);
    cr_expect_eq(canvas.chars[0].code, 0x2581);
    cr_expect_eq(canvas.chars[1].code, 0x2588);
    canvas_release(&canvas);
}
