#include <criterion/criterion.h>

#include "cli/version_rule.h"

/* As Python's packaging.specifiers decides, with releases before a version taken. */
Test(cli_version_rule, clauses_decide_as_those_of_python_packages)
{
    static const struct {
        const char *rule;
        const char *version;
        bool is_met;
    } cases[] = {
        {">=2.2", "2.2", true},
        {">=2.2", "2.2.0", true},
        {">=2.2", "2.10", true},
        {">=2.2", "2.1.9", false},
        {">=2.2", "2.11.0+cu128", true},
        {">=2.2", "2.2.0rc1", false},
        {">=2.2", "2.2.0.dev20240101+cpu", false},
        {">=2.2", "2.2.post1", true},
        {">=0.4.30", "0.4.30", true},
        {">=0.4.30", "0.4.4", false},
        {">=12.1", "12.10", true},
        {">=3.10", "3.9", false},
        {">=2.2,<3", "2.11.0", true},
        {">=2.2, <3", "3.0", false},
        {"==2.2", "2.2.0", true},
        {"==2.2", "2.2.1", false},
        {"==2.2.*", "2.2.1", true},
        {"==2.2.*", "2.20", false},
        {"2.2", "2.2.0", true},
        {"!=2.2", "2.2", false},
        {"!=2.2.*", "2.2.7", false},
        {"~=2.2", "2.9", true},
        {"~=2.2", "3.0", false},
        {"~=2.2.1", "2.2.9", true},
        {"~=2.2.1", "2.3", false},
        {">2.2", "2.2", false},
        {"<2.2", "2.2rc1", false},
        {"<2.2", "2.1rc1", true},
        {"<=2.2", "2.2+cpu", true},
        {">=2.2,", "2.2", true},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        bool is_met = !cases[i].is_met;
        cr_expect(version_rule_check(cases[i].rule, cases[i].version, &is_met), "%s %s",
                  cases[i].rule, cases[i].version);
        cr_expect_eq(is_met, cases[i].is_met, "%s %s", cases[i].rule, cases[i].version);
    }
}

Test(cli_version_rule, what_cannot_be_read_is_not_decided)
{
    static const char *const rules[] = {"newest", ">=", ">=2.2,,<3", "=>2.2", ",", "2.x"};
    bool is_met = false;
    for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++)
        cr_expect_not(version_rule_check(rules[i], "2.2", &is_met), "%s", rules[i]);
    cr_expect_not(version_rule_check(">=2.2", "unknown", &is_met));
}
