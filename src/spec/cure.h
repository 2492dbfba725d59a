/* spec/cure.h - what would cure a reason: one sentence a code (docs/records.md lists them). */
#ifndef SPEC_CURE_H
#define SPEC_CURE_H

#include <stddef.h>

/* NULL for a code that has none. */
const char *cure_of(const char *code);
/* All of them, by index; NULL past the last. *ret_cure is set with it. */
const char *cure_code_at(size_t index, const char **ret_cure);

#endif
