#include <criterion/criterion.h>

#include "spec/verdict.h"

Test(spec_verdict, a_warning_stands_beside_the_reasons_and_changes_no_verdict)
{
    struct judgement judgement = {0};
    judgement_warn(&judgement, "drift", "by %d %%", 7);
    cr_expect_eq(judgement.verdict, VERDICT_OK);
    cr_expect_eq(judgement.reasons.count, 0);
    cr_assert_eq(judgement.warnings.count, 1);
    cr_expect_str_eq(judgement.warnings.items[0].code, "drift");
    cr_expect_str_eq(judgement.warnings.items[0].text, "by 7 %");
}

Test(spec_verdict, the_first_verdict_stays_with_every_reason)
{
    struct judgement judgement = {0};
    struct reasons more = {0};
    reasons_add(&more, "nonfinite_loss", "%d losses", 3);
    reasons_add(&more, "foreign_load", "again");
    judgement_add(&judgement, VERDICT_UNSTEADY, "foreign_load", "%g %%", 40.5);
    judgement_add_all(&judgement, VERDICT_INVALID, &more);
    judgement_warn_all(&judgement, &more);
    cr_expect_eq(judgement.verdict, VERDICT_UNSTEADY);
    cr_assert_eq(judgement.reasons.count, 2);
    cr_expect_str_eq(judgement.reasons.items[0].text, "40.5 %");
    cr_expect_str_eq(judgement.reasons.items[1].text, "3 losses");
    cr_expect_eq(judgement.warnings.count, 2);
}

Test(spec_verdict, no_reasons_change_nothing)
{
    struct judgement judgement = {0};
    struct reasons none = {0};
    judgement_add_all(&judgement, VERDICT_INVALID, &none);
    cr_expect_eq(judgement.verdict, VERDICT_OK);
}

Test(spec_verdict, only_a_cell_that_did_not_fit_by_itself_says_something_of_larger_ones)
{
    struct reasons own = {0};
    struct reasons low = {0};
    reasons_add(&own, "memory_limit", "too much");
    reasons_add(&low, "host_memory_low", "others have it");
    cr_expect(reasons_prove_unfit(VERDICT_OOM, &own));
    cr_expect_not(reasons_prove_unfit(VERDICT_OOM, &low));
    cr_expect_not(reasons_prove_unfit(VERDICT_CRASHED, &own));
}

/* docs/records.md: --resume goes by these. */
Test(spec_verdict, what_another_try_would_not_change_is_finished)
{
    static const char *const finished[] = {"ok", "unsteady", "invalid", "unsupported", "oom"};
    size_t count = 0;
    for (size_t i = 0; i < ARRAY_COUNT(finished); i++) {
        enum verdict verdict = VERDICT_COUNT;
        cr_assert(verdict_parse(finished[i], &verdict));
        cr_expect(verdict_is_finished(verdict), "%s", finished[i]);
    }
    for (int i = 0; i < VERDICT_COUNT; i++)
        count += verdict_is_finished((enum verdict)i);
    cr_expect_eq(count, ARRAY_COUNT(finished), "no others");
}
