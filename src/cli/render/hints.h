/* cli/render/hints.h - hints for the reasons of a table's records, each once. */
#ifndef CLI_RENDER_HINTS_H
#define CLI_RENDER_HINTS_H

#include <stdbool.h>

#include "base/buf.h"
#include "result/record.h"

#define HINTS_MAX 64

/* Zeroed: none yet. Indexed as the table of hints. */
struct hints {
    bool is_wanted[HINTS_MAX];
};

void hints_add(struct hints *hints, const struct record *record);
/* "\nWhat would help:\n  code: hint\n", or nothing; in lines of at most `columns` (0 = no limit).
 */
void hints_format(const struct hints *hints, size_t columns, bool is_markdown, struct buf *out);

#endif
