#include "cli/version_rule.h"

#include <ctype.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"

#define PARTS_MAX    8
#define CLAUSE_BYTES 64
#define PART_MAX     1000000000UL

struct version {
    unsigned long parts[PARTS_MAX];
    size_t count;
    bool is_before_release;
    bool is_prefix; /* it ended in ".*" */
};

static bool parse_version(const char *text, struct version *ret_version)
{
    *ret_version = (struct version){0};
    if (*text == 'v' || *text == 'V')
        text++;
    while (isdigit((unsigned char)*text) && ret_version->count < PARTS_MAX) {
        char *end = NULL;
        unsigned long part = strtoul(text, &end, 10);
        if (part > PART_MAX)
            return false;
        ret_version->parts[ret_version->count++] = part;
        text = end;
        if (*text != '.')
            break;
        text++;
    }
    if (ret_version->count == 0)
        return false;
    if (strcmp(text, "*") == 0) {
        ret_version->is_prefix = true;
        return true;
    }
    if (strncmp(text, "post", 4) == 0)
        return true;
    static const char *const before[] = {"a", "b", "c", "rc", "dev", "pre"};
    for (size_t i = 0; i < ARRAY_COUNT(before); i++)
        if (strncmp(text, before[i], strlen(before[i])) == 0)
            ret_version->is_before_release = true;
    return ret_version->is_before_release || *text == '\0' || *text == '+' || *text == '-';
}

static int compare(const struct version *left, const struct version *right)
{
    for (size_t i = 0; i < PARTS_MAX; i++)
        if (left->parts[i] != right->parts[i])
            return left->parts[i] < right->parts[i] ? -1 : 1;
    return (int)right->is_before_release - (int)left->is_before_release;
}

static bool begins_with(const struct version *version, const struct version *start, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (version->parts[i] != start->parts[i])
            return false;
    return true;
}

static bool equals(const struct version *version, const struct version *asked)
{
    return asked->is_prefix ? begins_with(version, asked, asked->count)
                            : compare(version, asked) == 0;
}

static bool check_clause(const char *clause, const struct version *version, bool *ret_is_met)
{
    static const char *const operators[] = {">=", "<=", "==", "!=", "~=", ">", "<", ""};
    size_t which = 0;
    while (strncmp(clause, operators[which], strlen(operators[which])) != 0)
        which++;
    const char *text = clause + strlen(operators[which]);
    text += strspn(text, " ");
    struct version asked;
    if (!parse_version(text, &asked))
        return false;
    int order = compare(version, &asked);
    switch (which) {
    case 0: *ret_is_met = order >= 0; break;
    case 1: *ret_is_met = order <= 0; break;
    case 3: *ret_is_met = !equals(version, &asked); break;
    case 4:
        *ret_is_met =
            order >= 0 && asked.count > 1 && begins_with(version, &asked, asked.count - 1);
        break;
    case 5: *ret_is_met = order > 0; break;
    case 6: /* 2.2rc1 is not <2.2 */
        *ret_is_met = order < 0 && (asked.is_before_release || !version->is_before_release ||
                                    !begins_with(version, &asked, PARTS_MAX));
        break;
    default: *ret_is_met = equals(version, &asked);
    }
    return true;
}

bool version_rule_check(const char *rule, const char *version, bool *ret_is_met)
{
    struct version own;
    if (!parse_version(version, &own))
        return false;
    bool is_met = true;
    while (*rule != '\0') {
        char clause[CLAUSE_BYTES];
        rule += strspn(rule, " ");
        size_t length = strcspn(rule, ",");
        if (length == 0 || length >= sizeof(clause))
            return false;
        memcpy(clause, rule, length);
        clause[length] = '\0';
        while (length > 0 && clause[length - 1] == ' ')
            clause[--length] = '\0';
        bool is_clause_met = false;
        if (!check_clause(clause, &own, &is_clause_met))
            return false;
        is_met = is_met && is_clause_met;
        rule += strcspn(rule, ",");
        rule += *rule == ',';
    }
    *ret_is_met = is_met;
    return true;
}
