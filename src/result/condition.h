/* result/condition.h - FIELD=VALUE: which records are wanted. */
#ifndef RESULT_CONDITION_H
#define RESULT_CONDITION_H

#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"
#include "result/record.h"

struct condition {
    enum fact_id field;
    const char *wanted; /* borrowed: the text that was given */
    double number;      /* of a field that is one; NaN where `null` is wanted */
};

/* A field by its name, of `name_bytes`; the error's text names the nearest. */
MUST_CHECK enum status condition_find_field(const char *name, size_t name_bytes,
                                            enum fact_id *ret_field, struct err *err);
/* `value` stays the caller's, for the condition's life. "null" is a value, too. */
MUST_CHECK enum status condition_make(enum fact_id field, const char *value,
                                      struct condition *ret_condition, struct err *err);
bool condition_holds(const struct condition *condition, const struct record *record);

#endif
