/* The allocations, or system calls, of a piece of work fail one after the other: as
 * tests/fault/test_failing_calls.py does with whole commands, here with one room, and under the
 * sanitizers. */
#ifndef UNIT_FAILING_CALLS_H
#define UNIT_FAILING_CALLS_H

#include "base/status.h"

enum failing_kind { FAILING_MEMORY, FAILING_SYSTEM };

/* All borrowed. In `prepare` and `check`, which may be NULL, nothing fails. */
struct failing_work {
    void (*prepare)(void *context);
    enum status (*work)(void *context, struct err *err);
    /* What the work has left must be sound, whatever became of it. */
    void (*check)(void *context, enum status status);
    void *context;
};

/* Does the work until no call is left that could fail; how many it makes. Without memory it must
 * end well or say so (STATUS_NOMEM); any failure must have a text. */
unsigned failing_calls(enum failing_kind kind, const struct failing_work *work);

#endif
