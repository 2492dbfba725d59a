#include "spec/facts.h"

#include <stdio.h>
#include <string.h>

#include "base/status.h"

const struct fact facts_table[FACTS_COUNT] = {
#define ROW(name, type, unit, group, better, giver, meaning, null_when, reasons)                \
    name, FACT_TYPE_##type, unit, FACT_GROUP_##group, FACT_BETTER_##better, FACT_GIVER_##giver, \
        meaning, null_when, reasons
#define OWN(id, name, type, unit, group, better, giver, meaning, null_when, reasons)               \
    {ROW(name, type, unit, group, better, giver, meaning, null_when, reasons), "", FACT_WIRE_NONE, \
     FACT_FOLD_NONE},
#define READY(id, name, type, unit, group, better, meaning, null_when, reasons, key, wire) \
    {ROW(name, type, unit, group, better, READY, meaning, null_when, reasons), #key,       \
     FACT_WIRE_##wire, FACT_FOLD_NONE},
#define MEMORY(id, name, type, unit, group, better, meaning, null_when, reasons, key, wire) \
    {ROW(name, type, unit, group, better, MEMORY, meaning, null_when, reasons), #key,       \
     FACT_WIRE_##wire, FACT_FOLD_NONE},
#define BLOCK(id, name, type, unit, group, better, meaning, null_when, reasons, key, wire, fold) \
    {ROW(name, type, unit, group, better, BLOCK, meaning, null_when, reasons), #key,             \
     FACT_WIRE_##wire, FACT_FOLD_##fold},
#include "spec/facts.def"
};

static const struct {
    enum fact_compare how;
    double least_percent;
} compared[FACTS_COUNT] = {
#define COMPARED(id, how, least) [FACT_##id] = {FACT_COMPARE_##how, least},
#include "spec/facts.def"
};

bool fact_find(const char *name, enum fact_id *ret_id)
{
    for (enum fact_id id = 0; id < FACTS_COUNT; id++) {
        if (strcmp(facts_table[id].name, name) == 0) {
            *ret_id = id;
            return true;
        }
    }
    return false;
}

const char *fact_type_says(enum fact_type type)
{
    static const char *const says[] = {[FACT_TYPE_STRING] = "a string",
                                       [FACT_TYPE_INTEGER] = "a whole number, 0 or more",
                                       [FACT_TYPE_DOUBLE] = "a number",
                                       [FACT_TYPE_BOOLEAN] = "true or false",
                                       [FACT_TYPE_JSON] = "a JSON value"};
    ASSERT((size_t)type < ARRAY_COUNT(says));
    return says[type];
}

const char *fact_type_name(enum fact_type type)
{
    static const char *const names[] = {[FACT_TYPE_STRING] = "string",
                                        [FACT_TYPE_INTEGER] = "integer",
                                        [FACT_TYPE_DOUBLE] = "number",
                                        [FACT_TYPE_BOOLEAN] = "boolean",
                                        [FACT_TYPE_JSON] = "JSON"};
    ASSERT((size_t)type < ARRAY_COUNT(names));
    return names[type];
}

const char *fact_better_name(enum fact_better better)
{
    static const char *const names[] = {[FACT_BETTER_NONE] = "none",
                                        [FACT_BETTER_HIGHER] = "higher",
                                        [FACT_BETTER_LOWER] = "lower",
                                        [FACT_BETTER_EXACT] = "exact"};
    ASSERT((size_t)better < ARRAY_COUNT(names));
    return names[better];
}

enum fact_compare fact_compare(enum fact_id id)
{
    ASSERT(id < FACTS_COUNT);
    if (compared[id].how != FACT_COMPARE_BY_BETTER)
        return compared[id].how;
    bool is_number =
        facts_table[id].type == FACT_TYPE_DOUBLE || facts_table[id].type == FACT_TYPE_INTEGER;
    switch (facts_table[id].better) {
    case FACT_BETTER_NONE: break;
    case FACT_BETTER_HIGHER:
    case FACT_BETTER_LOWER: return is_number ? FACT_COMPARE_READING : FACT_COMPARE_NOT;
    case FACT_BETTER_EXACT: return FACT_COMPARE_WORK;
    }
    return FACT_COMPARE_NOT;
}

double fact_least_percent(enum fact_id id)
{
    ASSERT(id < FACTS_COUNT);
    if (compared[id].how != FACT_COMPARE_BY_BETTER)
        return compared[id].least_percent;
    return fact_compare(id) == FACT_COMPARE_READING ? FACT_LEAST_PERCENT : 0;
}

#define X(name, text) text,

const char *fact_compare_name(enum fact_compare compare)
{
    static const char *const names[] = {"", FACT_COMPARE_MAP(X)};
    ASSERT((size_t)compare < ARRAY_COUNT(names));
    return names[compare];
}

const char *fact_group_name(enum fact_group group)
{
    static const char *const names[] = {FACT_GROUP_MAP(X)};
    ASSERT((size_t)group < ARRAY_COUNT(names));
    return names[group];
}

const char *fact_giver_name(enum fact_giver giver)
{
    static const char *const names[] = {FACT_GIVER_MAP(X)};
    ASSERT((size_t)giver < ARRAY_COUNT(names));
    return names[giver];
}

const char *fact_wire_name(enum fact_wire wire)
{
    static const char *const names[] = {FACT_WIRE_MAP(X)};
    ASSERT((size_t)wire < ARRAY_COUNT(names));
    return names[wire];
}

#undef X

bool fact_lists_reason(const struct fact *fact, const char *word)
{
    size_t length = strlen(word);
    for (const char *c = fact->null_reasons; *c != '\0';) {
        size_t here = strcspn(c, " ");
        if (here == length && strncmp(c, word, length) == 0)
            return true;
        c += here + (c[here] == ' ');
    }
    return false;
}

void fact_unsaid_reason(const struct fact *fact, char ret_reason[FACT_REASON_BYTES])
{
    size_t length = strcspn(fact->null_reasons, " ");
    (void)snprintf(ret_reason, FACT_REASON_BYTES, "%.*s", (int)length, fact->null_reasons);
}
