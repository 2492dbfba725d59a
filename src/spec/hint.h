/* spec/hint.h - what helps against a reason: one hint per code (docs/records.md lists them). */
#ifndef SPEC_HINT_H
#define SPEC_HINT_H

#include <stddef.h>

/* NULL for a code that has none. */
const char *hint_of(const char *code);
/* All of them, by index; NULL past the last. *ret_hint is set with it. */
const char *hint_code_at(size_t index, const char **ret_hint);

#endif
