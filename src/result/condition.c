#include "result/condition.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/nearest.h"
#include "base/num.h"

#define NAME_BYTES 128

enum status condition_find_field(const char *name, size_t name_bytes, enum fact_id *ret_field,
                                 struct err *err)
{
    char word[NAME_BYTES];
    const char *names[FACTS_COUNT];
    struct nearest_hint hint;
    (void)snprintf(word, sizeof(word), "%.*s", (int)(name_bytes < NAME_BYTES ? name_bytes : 100),
                   name);
    if (fact_find(word, ret_field))
        return STATUS_OK;
    for (enum fact_id id = 0; id < FACTS_COUNT; id++)
        names[id] = fact_of(id)->name;
    return ERR(err, STATUS_INVALID, "no field is named '%s'; %s; `tokmark fields` lists them", word,
               nearest_hint(&hint, "", word, names, FACTS_COUNT));
}

enum status condition_make(enum fact_id field, const char *value, struct condition *ret_condition,
                           struct err *err)
{
    const struct fact *fact = fact_of(field);
    struct condition condition = {.field = field, .wanted = value, .number = NAN};
    bool is_number = fact->type == FACT_TYPE_INTEGER || fact->type == FACT_TYPE_DOUBLE;
    bool is_null = strcmp(value, "null") == 0;
    bool is_right = true;
    if (is_number && !is_null)
        is_right =
            num_parse_double(value, -HUGE_VAL, HUGE_VAL, &condition.number, NULL) == STATUS_OK;
    else if (fact->type == FACT_TYPE_BOOLEAN && !is_null)
        is_right = strcmp(value, "true") == 0 || strcmp(value, "false") == 0;
    if (!is_right)
        return ERR(err, STATUS_INVALID, "'%s=%.200s': '%s' is %s, or null", fact->name, value,
                   fact->name, fact_type_says(fact->type));
    *ret_condition = condition;
    return STATUS_OK;
}

bool condition_holds(const struct condition *condition, const struct record *record)
{
    enum fact_id field = condition->field;
    if (record_is_null(record, field))
        return strcmp(condition->wanted, "null") == 0;
    switch (fact_of(field)->type) {
    case FACT_TYPE_INTEGER: return (double)record_u64(record, field) == condition->number;
    case FACT_TYPE_DOUBLE: return record_double(record, field) == condition->number;
    case FACT_TYPE_BOOLEAN:
        return strcmp(condition->wanted, record_bool(record, field) ? "true" : "false") == 0;
    case FACT_TYPE_STRING:
    case FACT_TYPE_JSON: return strcmp(record_string(record, field), condition->wanted) == 0;
    }
    return false;
}
