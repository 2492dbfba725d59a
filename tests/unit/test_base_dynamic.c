#include <criterion/criterion.h>
#include <string.h>

#include "base/dynamic.h"

static double (*cosine)(double);
static int (*absent)(void) = NULL;

static int stays(void)
{
    return 7;
}

Test(base_dynamic, the_first_library_that_is_there_is_taken)
{
    static const char *const names[] = {"libtokmark-nowhere.so.1", "libm.so.6", NULL};
    const struct dynamic_symbol symbols[] = {{"cos", &cosine, false},
                                             {"tokmark_no_such", &absent, true}};
    struct err err = {0};
    absent = stays;
    cr_assert_eq(dynamic_load(names, symbols, 2, &err), STATUS_OK, "%s", err.text);
    cr_expect_eq(err.status, STATUS_OK);
    cr_expect_float_eq(cosine(0.0), 1.0, 0.0);
    cr_expect_null(absent);
}

Test(base_dynamic, a_library_that_is_not_there_is_named)
{
    static const char *const names[] = {"libtokmark-nowhere.so.1", "libtokmark-nowhere.so", NULL};
    struct err err = {0};
    cr_assert_eq(dynamic_load(names, NULL, 0, &err), STATUS_NOT_FOUND);
    cr_expect(strstr(err.text, "libtokmark-nowhere.so.1") != NULL, "%s", err.text);
}

Test(base_dynamic, a_missing_function_is_named_and_no_slot_is_set)
{
    static const char *const names[] = {"libm.so.6", NULL};
    const struct dynamic_symbol symbols[] = {{"cos", &cosine, false},
                                             {"tokmark_no_such", &absent, false}};
    struct err err = {0};
    absent = stays;
    cosine = NULL;
    cr_assert_eq(dynamic_load(names, symbols, 2, &err), STATUS_UNSUPPORTED);
    cr_expect(strstr(err.text, "tokmark_no_such") != NULL, "%s", err.text);
    cr_expect(absent == stays);
    cr_expect_null(cosine);
}
