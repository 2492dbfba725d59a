#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"

static void check(const struct buf *buf, const char *text, bool has_failed)
{
    cr_expect_eq(buf->length_bytes, strlen(text));
    cr_expect_str_eq(buf->data, text);
    cr_expect_eq(buf->failed, has_failed);
}

/* By whichever way the text comes: to the last byte, and not one more. */
Test(base_buf, what_passes_the_limit_leaves_all_as_it_was)
{
    struct buf buf;
    for (int way = 0; way < 3; way++) {
        buf_init(&buf, 6);
        check(&buf, "", false);
        buf_append_text(&buf, "abc");
        switch (way) {
        case 0: buf_append(&buf, "defg", 4); break;
        case 1: buf_appendf(&buf, "%d%s", 45, "fg"); break;
        default:
            buf_append_text(&buf, "def");
            check(&buf, "abcdef", false);
            buf_append_char(&buf, 'g');
            buf.length_bytes = 3;
            buf.data[3] = '\0';
            break;
        }
        check(&buf, "abc", true);
        buf_append_char(&buf, 'd');
        buf_append_text(&buf, "d");
        buf_appendf(&buf, "d");
        check(&buf, "abc", true);
        buf_reset(&buf);
        check(&buf, "", false);
        buf_appendf(&buf, "%s", "123");
        buf_append(&buf, "45", 2);
        buf_append_char(&buf, '6');
        buf_append(&buf, "", 0);
        check(&buf, "123456", false);
        buf_release(&buf);
        check(&buf, "", false);
    }
}

Test(base_buf, a_buffer_of_no_bytes_is_released_and_emptied_like_any)
{
    struct buf buf = {0};
    buf_reset(&buf);
    cr_expect_null(buf.data);
    buf_release(&buf);
    check(&buf, "", false);
    buf_reset(&buf);
    check(&buf, "", false);
    buf_append_char(&buf, 'x');
    check(&buf, "", true);
    buf_release(&buf);
}

/* Past several doublings, by each way; and what is dropped from its front. */
Test(base_buf, thousands_of_bytes_stay_in_order)
{
    enum { LINES = 3000 };
    struct buf buf;
    char wanted[LINES * 12 + 1];
    size_t length = 0;
    buf_init(&buf, sizeof(wanted));
    for (int i = 0; i < LINES; i++) {
        char line[16];
        (void)snprintf(line, sizeof(line), "line %06d", i);
        memcpy(wanted + length, line, 11);
        wanted[length + 11] = '\n';
        length += 12;
        if (i % 3 == 0)
            buf_append(&buf, line, 11);
        else if (i % 3 == 1)
            buf_appendf(&buf, "line %06d", i);
        else
            for (int at = 0; at < 11; at++)
                buf_append_char(&buf, line[at]);
        buf_append_char(&buf, '\n');
    }
    wanted[length] = '\0';
    check(&buf, wanted, false);
    buf_consume(&buf, 0);
    check(&buf, wanted, false);
    buf_consume(&buf, 24000);
    check(&buf, wanted + 24000, false);
    buf_consume(&buf, buf.length_bytes);
    check(&buf, "", false);
    buf_release(&buf);
}
