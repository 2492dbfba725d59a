#include <criterion/criterion.h>
#include <string.h>

#include "base/status.h"
#include "data/file_formats.h"

Test(data_file_formats, other_formats_are_named)
{
    static const struct {
        const char *start;
        size_t bytes;
        const char *words; /* NULL = not known */
    } cases[] = {
        {"version https://git-lfs.github.com/spec/v1\n", 43, "git lfs pull"},
        {"PK\x03\x04rest", 8, "save_file"},
        {"\x80\x02\x8a\nl\xfc\x9c", 7, "torch.save, old format"},
        {"\x80\x02}q\0", 5, "a pickle"},
        {"GGUF\3\0\0\0", 8, "GGUF"},
        {"<html>", 6, "a web page"},
        {"{\"weight_map\"", 13, "a JSON text"},
        {"\x80\x02\0\0\0\0\0\0{\"a\"", 12, NULL}, /* a header of 640 bytes */
        {"{\0\0\0\0\0\0\0{\"a\"", 12, NULL},      /* one of 123 */
        {"\x80\x02\x7d\0\0\0\0\0{\"a\"", 12, NULL},
        {"", 0, NULL},
        {"\xff\xff\xff", 3, NULL},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        const char *what =
            file_formats_describe((const unsigned char *)cases[i].start, cases[i].bytes);
        if (cases[i].words == NULL)
            cr_assert_null(what, "case %zu: %s", i, what);
        else
            cr_assert(what != NULL && strstr(what, cases[i].words) != NULL, "case %zu: %s", i,
                      what == NULL ? "(null)" : what);
    }
}
