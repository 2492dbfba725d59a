#include <criterion/criterion.h>
#include <string.h>

#include "base/words.h"

static void expect(const char *text, size_t count, const char *const *wanted)
{
    struct words words;
    struct err err = {0};
    words_init(&words);
    cr_assert_eq(words_split(&words, text, &err), STATUS_OK, "%s: %s", text, err.text);
    cr_assert_eq(words.count, count, "%s -> %zu words", text, words.count);
    for (size_t i = 0; i < count; i++)
        cr_expect_str_eq(words.items[i], wanted[i], "%s", text);
    if (count > 0)
        cr_assert_null(words.items[count]);
    words_release(&words);
}

/* The wanted words are what `sh -c 'printf "[%s]\n" TEXT'` prints for the same text. */
Test(base_words, words_are_split_as_a_shell_splits_them)
{
    expect("", 0, NULL);
    expect(" \t\n ", 0, NULL);
    expect("python3 examples/exec_worker.py", 2,
           (const char *[]){"python3", "examples/exec_worker.py"});
    expect("  ssh   gpu-box  ", 2, (const char *[]){"ssh", "gpu-box"});
    expect("a 'b c' \"d e\" f\\ g", 4, (const char *[]){"a", "b c", "d e", "f g"});
    expect("a'b'\"c\"d", 1, (const char *[]){"abcd"});
    expect("'' \"\"", 2, (const char *[]){"", ""});
    expect("'a\\b' \"a\\b\" \"a\\\"b\\\\\"", 3, (const char *[]){"a\\b", "a\\b", "a\"b\\"});
    expect("'it'\\''s'", 1, (const char *[]){"it's"});
    expect("\\\\ \\'", 2, (const char *[]){"\\", "'"});
}

Test(base_words, nothing_is_expanded)
{
    expect("$HOME *.c `id` a|b >x ~ #y", 7,
           (const char *[]){"$HOME", "*.c", "`id`", "a|b", ">x", "~", "#y"});
}

Test(base_words, what_is_left_open_is_refused_and_nothing_is_added)
{
    static const char *const bad[] = {"a 'b", "a \"b", "a \"b\\\"", "a b\\", "'", "\""};
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        struct words words;
        struct err err = {0};
        words_init(&words);
        cr_assert_eq(words_add(&words, "kept", &err), STATUS_OK);
        cr_expect_eq(words_split(&words, bad[i], &err), STATUS_INVALID, "%s", bad[i]);
        cr_expect_eq(words.count, 1);
        cr_expect_str_eq(words.items[0], "kept");
        cr_expect_null(words.items[1]);
        cr_expect(err.text[0] != '\0');
        words_release(&words);
    }
}

Test(base_words, there_is_a_limit)
{
    static char text[2 * (WORDS_MAX + 1) + 1];
    for (size_t i = 0; i <= WORDS_MAX; i++)
        memcpy(text + 2 * i, "x ", 2);
    struct words words;
    struct err err = {0};
    words_init(&words);
    cr_assert_eq(words_split(&words, text, &err), STATUS_LIMIT);
    cr_assert_eq(words.count, 0);
    text[2 * WORDS_MAX] = '\0';
    cr_assert_eq(words_split(&words, text, &err), STATUS_OK);
    cr_assert_eq(words.count, WORDS_MAX);
    words_release(&words);
}
