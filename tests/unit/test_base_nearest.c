#include "base/nearest.h"

#include <criterion/criterion.h>
#include <stdio.h>

#include "base/status.h"

Test(base_nearest, a_word_is_near_when_about_a_third_of_it_differs)
{
    static const char *const words[] = {"fp32",      "bf16", "train", "vocab_size",
                                        "gpt2-124m", "seq",  "model", "memory-limit"};
    const struct {
        const char *text;
        const char *near; /* NULL = none */
    } cases[] = {
        {"fp8", NULL},
        {"fp31", "fp32"},
        {"FP32", "fp32"},
        {"bf-16", "bf16"},
        {"tarin", "train"},
        {"vocb_sise", "vocab_size"},
        {"Llama-3-8B", NULL},
        {"gpt2-125m", "gpt2-124m"},
        {"gpt2", "gpt2-124m"},
        {"sequence", "seq"},
        {"mem", "memory-limit"},
        {"x", NULL},
        {"mdoel", "model"},
        {"", NULL},
        {"q", NULL},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        const char *found = nearest_word(cases[i].text, words, ARRAY_COUNT(words));
        if (cases[i].near == NULL)
            cr_assert_null(found, "'%s' gave '%s'", cases[i].text, found);
        else
            cr_assert(found != NULL && strcmp(found, cases[i].near) == 0, "'%s' gave '%s'",
                      cases[i].text, found != NULL ? found : "nothing");
    }
    cr_assert_null(nearest_word("a", NULL, 0));
}

Test(base_nearest, two_letters_swapped_are_one_change)
{
    cr_assert_eq(nearest_distance("tarin", "train"), 1);
    cr_assert_eq(nearest_distance("ca", "abc"), 3); /* each place once: no edit inside a swap */
    cr_assert_eq(nearest_distance("", "abc"), 3);
    cr_assert_eq(nearest_distance("kitten", "sitting"), 3);
}

Test(base_nearest, where_no_word_is_near_the_hint_lists_what_there_is)
{
    static const char *const few[] = {"fp32", "bf16"};
    struct nearest_hint hint;
    cr_assert_str_eq(nearest_hint(&hint, "", "fp33", few, 2), "did you mean 'fp32'?");
    cr_assert_str_eq(nearest_hint(&hint, "--", "fp33", few, 2), "did you mean '--fp32'?");
    cr_assert_str_eq(nearest_hint(&hint, "", "int4", few, 2), "there are fp32, bf16");
    cr_assert_str_eq(nearest_hint(&hint, "--", "int4", few, 1), "there is --fp32");
    const char *many[100];
    for (size_t i = 0; i < ARRAY_COUNT(many); i++)
        many[i] = "a_word_of_some_length";
    const char *text = nearest_hint(&hint, "", "xyz", many, ARRAY_COUNT(many));
    cr_assert_lt(strlen(text), (size_t)NEAREST_HINT_BYTES);
    cr_assert_str_eq(text + strlen(text) - 5, ", ...");
}
