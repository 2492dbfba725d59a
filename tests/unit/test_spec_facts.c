#include <criterion/criterion.h>
#include <ctype.h>
#include <string.h>

#include "base/status.h"
#include "null_reasons.h"
#include "spec/facts.h"

TestSuite(spec_facts);

Test(spec_facts, the_published_fields_come_first_in_the_published_order)
{
    static const char *const published[] = {"framework",      "device",          "precision",
                                            "mode",           "seq_len",         "batch_size",
                                            "steps",          "tokens_per_step", "ms_per_step",
                                            "tokens_per_sec", "mem_alloc_mb",    "mem_reserved_mb",
                                            "peak_mem_mb",    "params_millions", "notes"};
    for (size_t i = 0; i < ARRAY_COUNT(published); i++) {
        cr_expect_str_eq(fact_of((enum fact_id)i)->name, published[i]);
        cr_expect_eq(fact_of((enum fact_id)i)->group, FACT_GROUP_PUBLISHED);
    }
    cr_assert_eq(FACT_SCHEMA, ARRAY_COUNT(published));
}

Test(spec_facts, names_are_words_and_stand_once)
{
    for (enum fact_id i = 0; i < FACTS_COUNT; i++) {
        const struct fact *fact = fact_of(i);
        for (const char *c = fact->name; *c != '\0'; c++)
            cr_assert(islower((unsigned char)*c) || isdigit((unsigned char)*c) || *c == '_');
        enum fact_id found = FACTS_COUNT;
        cr_assert(fact_find(fact->name, &found));
        cr_assert_eq(found, i, "'%s' stands twice", fact->name);
        cr_assert(fact->meaning[0] != '\0' && fact->null_when[0] != '\0', "%s", fact->name);
        cr_assert_null(strchr(fact->meaning, '|'), "%s would break its table", fact->name);
    }
    enum fact_id untouched = FACT_STEPS;
    cr_assert_not(fact_find("no_such_field", &untouched));
    cr_assert_eq(untouched, FACT_STEPS);
}

Test(spec_facts, what_a_worker_gives_has_a_key_of_its_own_and_a_reason_when_it_is_left_out)
{
    for (enum fact_id i = 0; i < FACTS_COUNT; i++) {
        const struct fact *fact = fact_of(i);
        if (fact->wire == FACT_WIRE_NONE)
            continue;
        char reason[FACT_REASON_BYTES];
        fact_unsaid_reason(fact, reason);
        cr_assert(i == FACT_NOTES || fact_lists_reason(fact, reason), "%s", fact->name);
        cr_assert(strcmp(reason, "verdict") != 0 && strcmp(reason, "synthetic") != 0, "%s",
                  fact->name);
        cr_assert_eq(fact->giver == FACT_GIVER_BLOCK, fact->fold != FACT_FOLD_NONE, "%s",
                     fact->name);
        for (enum fact_id j = 0; j < i; j++)
            cr_assert(fact_of(j)->giver != fact->giver || strcmp(fact_of(j)->key, fact->key) != 0,
                      "%s has the key of %s", fact->name, fact_of(j)->name);
    }
}

Test(spec_facts, reasons_for_nulls_are_words_of_the_row_general_ones_or_verdicts)
{
    const struct fact *load = fact_of(FACT_LOAD_MS);
    cr_expect(null_reason_is_listed(load, "not_reported"));
    cr_expect(null_reason_is_listed(load, "synthetic"));
    cr_expect(null_reason_is_listed(load, "timeout"), "the trial ended before");
    cr_expect(null_reason_is_listed(load, "not_recorded"));
    cr_expect_not(null_reason_is_listed(load, "reported"), "a part of a word");
    cr_expect_not(null_reason_is_listed(load, "verdict"), "stands for others");
    cr_expect_not(null_reason_is_listed(load, "over_int64: 9"));
    cr_expect(null_reason_is_listed(fact_of(FACT_SEED), "over_int64: 9"));
    cr_expect_not(null_reason_is_listed(fact_of(FACT_MODEL_SOURCE), "timeout"));
}
