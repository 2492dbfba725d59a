/* Which reasons for nulls docs/records.md allows. */
#ifndef UNIT_NULL_REASONS_H
#define UNIT_NULL_REASONS_H

#include <string.h>

#include "spec/facts.h"
#include "spec/verdict.h"

/* May a record give this reason for the field's null: listed, one of the general ones, or, where
 * "verdict" is listed, a verdict's word? */
static inline bool null_reason_is_listed(const struct fact *fact, const char *reason)
{
    static const char *const general[] = {"not_measured", "not_recorded", "not_finite",
                                          "invalid_json", "out_of_memory"};
    static const char over[] = "over_int64: ";
    enum verdict verdict;
    for (size_t i = 0; i < ARRAY_COUNT(general); i++)
        if (strcmp(general[i], reason) == 0)
            return true;
    if (strncmp(reason, over, sizeof(over) - 1) == 0)
        return fact->type == FACT_TYPE_INTEGER;
    if (strcmp(reason, "verdict") == 0) /* stands for others */
        return false;
    return fact_lists_reason(fact, reason) ||
           (fact_lists_reason(fact, "verdict") && verdict_parse(reason, &verdict));
}

#endif
