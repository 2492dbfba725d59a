#include <criterion/criterion.h>
#include <string.h>

#include "engines/engine.h"

Test(engines_list, every_engine_is_found_by_its_name_and_is_complete)
{
    cr_assert_geq(engine_list_count, 2);
    for (unsigned i = 0; i < engine_list_count; i++) {
        const struct engine_ops *ops = engine_list[i];
        cr_assert_eq(engine_find(ops->name), ops, "%s is listed twice", ops->name);
        cr_assert_gt(strlen(ops->summary), 10);
        if (ops->become != NULL) {
            cr_assert(ops->supports == NULL && ops->open == NULL && ops->run_step == NULL,
                      "%s becomes another program", ops->name);
            continue;
        }
        cr_assert_gt(strlen(ops->version), 0);
        cr_assert(ops->supports != NULL && ops->open != NULL && ops->run_step != NULL &&
                  ops->close != NULL);
    }
    cr_assert_not_null(engine_find("null"));
    cr_assert_not_null(engine_find("sandbox"));
}

Test(engines_list, only_the_sandbox_makes_time_up)
{
    for (unsigned i = 0; i < engine_list_count; i++)
        cr_assert_eq(engine_list[i]->synthetic_step_ns != NULL,
                     strcmp(engine_list[i]->name, "sandbox") == 0);
}

Test(engines_list, unknown_names_are_not_found)
{
    cr_assert_null(engine_find("nul"));
    cr_assert_null(engine_find(""));
    cr_assert_null(engine_find("NULL"));
}
