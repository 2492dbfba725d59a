/* cli/render/machine_table.h - what this machine has shown (store/machine.h) as a table. */
#ifndef CLI_RENDER_MACHINE_TABLE_H
#define CLI_RENDER_MACHINE_TABLE_H

#include "base/buf.h"
#include "store/machine.h"

/* A row for each thing that was run or whose noise was measured, what was run last below the
 * others, and the clock check of the machine. Nothing in it can harm a terminal. */
void machine_table_format(const struct machine_book *book, const char *machine_id, struct buf *out);

#endif
