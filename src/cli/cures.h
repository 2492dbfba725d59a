/* cli/cures.h - what would cure the reasons of a table's records, each once. */
#ifndef CLI_CURES_H
#define CLI_CURES_H

#include <stdbool.h>

#include "base/buf.h"
#include "result/record.h"

#define CURES_MAX 64

/* Zeroed: none yet. By place in the table of cures. */
struct cures {
    bool is_wanted[CURES_MAX];
};

void cures_add(struct cures *cures, const struct record *record);
/* "\nWhat would help:\n  code: cure\n", or nothing. */
void cures_format(const struct cures *cures, struct buf *out);

#endif
