#include <criterion/criterion.h>
#include <string.h>

#include "base/file.h"

Test(base_file, a_path_of_any_bytes_goes_through_text_and_back)
{
    static const char *const rows[][2] = {
        {"/tmp/plain name?%41.txt", "/tmp/plain name?%41.txt"},
        {"/tmp/d\xC3\xA4t", "/tmp/d\xC3\xA4t"},
        {"/tmp/caf\xE9", "file:///tmp/caf%E9"},
        {"/a b/%41?#\xFF\x01~", "file:///a%20b/%2541%3F%23%FF%01~"},
        {"file:///x", "file://file%3A///x"},
        {"", ""},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char text[64];
        struct err err = {0};
        cr_assert_eq(file_path_to_text(rows[i][0], text, sizeof(text), &err), STATUS_OK, "%s",
                     err.text);
        cr_expect_str_eq(text, rows[i][1]);
        file_path_from_text(text);
        cr_expect_str_eq(text, rows[i][0]);
    }
}

Test(base_file, text_that_does_not_fit_is_refused)
{
    char text[16] = "as it was";
    cr_expect_eq(file_path_to_text("/tmp/\xFF\xFF", text, sizeof(text), NULL), STATUS_LIMIT);
    cr_expect_eq(file_path_to_text("/tmp/0123456789", text, 15, NULL), STATUS_LIMIT);
    cr_expect_str_eq(text, "as it was");
    cr_expect_eq(file_path_to_text("/tmp/0123456789", text, 16, NULL), STATUS_OK);
}

Test(base_file, what_is_no_escape_stays)
{
    char text[] = "file:///a%zz%4%00%e9%";
    file_path_from_text(text);
    cr_expect_str_eq(text, "/a%zz%4%00\xE9%");
}
