/* cli/version_rule.h - constraints on versions, as Python's packages write them: ">=2.2,<3". */
#ifndef CLI_VERSION_RULE_H
#define CLI_VERSION_RULE_H

#include <stdbool.h>

/* Clauses between commas: >=, >, <=, <, ==, != and ~=, a version alone for ==; "2.2.*" is any that
 * begins so. What is built for a device ("+cu121") does not count, and a version before a release
 * ("2.3rc1", "2.3.0.dev1") is older than it. False: one of both texts cannot be read. */
bool version_rule_check(const char *rule, const char *version, bool *ret_is_met);

#endif
