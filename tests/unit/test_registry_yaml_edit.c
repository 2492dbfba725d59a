/* Entries into YAML: what is written of a text is read as that text, and places that the tests of
 * the command do not come to. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "registry/diff.h"
#include "registry/yaml_edit.h"
#include "registry/yaml_tree.h"

static char *copy(const char *text)
{
    char *copied = strdup(text);
    cr_assert_not_null(copied);
    return copied;
}

static char *edited(const char *before, const struct entry *entry, struct err *err)
{
    struct buf text;
    struct yaml_edit_counts counts;
    buf_init(&text, YAML_EDIT_BYTES_MAX);
    if (yaml_edit(before, strlen(before), NULL, entry, 1, &text, &counts, err) != STATUS_OK) {
        buf_release(&text);
        return NULL;
    }
    return text.data;
}

static void check_edited(const char *before, const struct entry *entry, const char *expected)
{
    struct err err = {0};
    char *text = edited(before, entry, &err);
    cr_assert_str_eq(text, expected);
    free(text);
}

Test(registry_yaml_edit, every_text_is_read_back_as_it_is)
{
    static const char *const texts[] = {
        "",     " ",      "a",   "yes",        "Null",     "1.5",   "0x1F",     "~",
        "- a",  "a: b",   "a:",  "a #b",       "#a",       "'",     "\"",       "\\",
        "a\nb", "tab\tx", "{a}", "[a]",        "a, b",     "&a",    "*a",       "!a",
        "%a",   "@a",     "`a",  "|",          ">",        "é日本", "\x01\x7F", "a ",
        " a",   "=",      "<<",  "2026-01-01", "on",       "n",     "x:y",      "a?b",
        "? a",  "---",    "...", "a\r\nb",     "Infinity", ".inf",  "1e3",      "1_000"};
    static const char *const befores[] = {"", "- id: q\n  name: 'x'\n", "[{\"id\": \"q\"}]\n",
                                          "- id: q\n  name: \"x\"\n  tags: ['z']\n"};
    for (size_t i = 0; i < ARRAY_COUNT(texts); i++)
        for (size_t k = 0; k < ARRAY_COUNT(befores); k++) {
            struct err err = {0};
            struct entry entry = {
                .texts = {copy("q"), copy(texts[i])}, .tags = {copy(texts[i])}, .tags_count = 1};
            char *text = edited(befores[k], &entry, &err);
            cr_assert_not_null(text, "'%s' in %zu: %s", texts[i], k, err.text);
            free(text);
            entry_release(&entry);
        }
}

Test(registry_yaml_edit, line_ends_of_other_kinds)
{
    struct entry entry = {.texts = {copy("new"), copy("x")}};
    check_edited("- id: a\r- id: b # c\r", &entry, "- id: a\r- id: b # c\r- id: new\r  name: x\r");
    check_edited("- id: a # c\xE2\x80\xA8- id: b\n", &entry,
                 "- id: a # c\xE2\x80\xA8- id: b\n- id: new\n  name: x\n");
    entry_release(&entry);
}

Test(registry_yaml_edit, a_comment_of_the_last_item_stays_with_it)
{
    struct entry entry = {.texts = {copy("new")}};
    check_edited("- id: a\n\n  # of a\n\n# of the file\n", &entry,
                 "- id: a\n\n  # of a\n- id: new\n\n# of the file\n");
    check_edited("- id: a\n  # of a", &entry, "- id: a\n  # of a\n- id: new\n");
    entry_release(&entry);
}

static void check_diff(const char *before, const char *after, const char *expected)
{
    struct buf one;
    struct buf other;
    struct buf out;
    buf_init(&one, 1000);
    buf_init(&other, 1000);
    buf_init(&out, 10000);
    buf_append_text(&one, before);
    buf_append_text(&other, after);
    diff_append("f", &one, &other, &out);
    cr_assert_str_eq(out.data, expected);
    buf_release(&one);
    buf_release(&other);
    buf_release(&out);
}

Test(registry_yaml_edit, differences_are_shown_as_diff_does)
{
    check_diff("a\n", "a\n", "");
    check_diff("", "a\n", "--- f\n+++ f\n@@ -0,0 +1,1 @@\n+a\n");
    check_diff("a\nb", "a\nc\n",
               "--- f\n+++ f\n@@ -1,2 +1,2 @@\n a\n-b\n\\ No newline at end of file\n+c\n");
    check_diff(
        "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n12\n", "1\nx\n3\n4\n5\n6\n7\n8\n9\n10\n11\n12\ny\n",
        "--- f\n+++ f\n@@ -1,5 +1,5 @@\n 1\n-2\n+x\n 3\n 4\n 5\n@@ -10,3 +10,4 @@\n 10\n 11\n "
        "12\n+y\n");
}
