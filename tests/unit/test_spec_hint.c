#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "paths.h"
#include "scratch.h"
#include "spec/hint.h"
#include "spec/verdict.h"

Test(spec_hint, documentation_lists_every_hint_in_order_and_no_other)
{
    char *text = scratch_read(TOKMARK_SOURCE_DIR, "docs/records.md", NULL);
    cr_assert_not_null(text);
    char *section = strstr(text, "## Reasons and hints\n");
    cr_assert_not_null(section);
    section = strstr(section, "| --- | --- |\n");
    cr_assert_not_null(section);
    const char *next = section + strlen("| --- | --- |\n");
    const char *hint = NULL;
    const char *code = NULL;
    for (size_t i = 0; (code = hint_code_at(i, &hint)) != NULL; i++) {
        char row[512];
        int length = snprintf(row, sizeof(row), "| `%s` | %s |\n", code, hint);
        cr_assert_eq(strncmp(next, row, (size_t)length), 0, "docs/records.md, not: %s", row);
        next += length;
        cr_assert_str_eq(hint_of(code), hint, "a code has one hint");
    }
    cr_assert_eq(next[0], '\n', "docs/records.md has a hint that is none");
    free(text);
}

Test(spec_hint, reasons_are_written_with_their_hint)
{
    struct reasons reasons = {0};
    reasons_add(&reasons, "dominated", "too big");
    reasons_add(&reasons, "no_such_code", "who knows");
    struct buf out;
    struct json_writer writer;
    buf_init(&out, 4096);
    json_writer_init(&writer, &out);
    reasons_write(&reasons, &writer);
    cr_assert_str_eq(out.data, "[{\"code\":\"dominated\",\"text\":\"too big\","
                               "\"cure\":\"--try-all runs it anyway\"},"
                               "{\"code\":\"no_such_code\",\"text\":\"who knows\"}]");
    cr_assert_null(hint_of("no_such_code"));
    buf_release(&out);
}
