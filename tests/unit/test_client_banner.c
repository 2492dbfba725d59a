#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "client/banner.h"

static const char *end_of(const char *line)
{
    return banner_end(line, strlen(line), "type");
}

Test(client_banner, what_is_behind_a_prompt_is_the_line)
{
    static const char hello[] = "{\"type\":\"hello\"}";
    static const char *const fronts[] = {"", "  ", "user@box {~} $ ", "{", "{{{[", "{\"a\":1} "};
    for (size_t i = 0; i < sizeof(fronts) / sizeof(fronts[0]); i++) {
        char line[128];
        (void)snprintf(line, sizeof(line), "%s%s", fronts[i], hello);
        const char *end = end_of(line);
        cr_assert_not_null(end, "%s", line);
        cr_expect_str_eq(end, hello);
    }
}

Test(client_banner, other_lines_are_banners)
{
    static const char *const lines[] = {"",         "Last login: never",
                                        "{",        "{\"level\":\"info\"}",
                                        "[1,2]",    "{\"type\":\"hello\"} and more",
                                        "\"type\"", "{\"type\":"};
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
        cr_expect_null(end_of(lines[i]), "%s", lines[i]);
    char braces[4096];
    memset(braces, '{', sizeof(braces));
    cr_expect_null(banner_end(braces, sizeof(braces), "type"));
}
