/* cli/render/dry_run.h - what a run would measure, without starting or writing anything. */
#ifndef CLI_RENDER_DRY_RUN_H
#define CLI_RENDER_DRY_RUN_H

#include "base/buf.h"
#include "cli/run_setup.h"

#define DRY_RUN_BYTES_MAX ((size_t)64 * 1024 * 1024)

/* A line a cell: index, id, shape, the engine's own prediction of memory and time, and whether it
 * would fit into `available_bytes` (0 = not known). */
void dry_run_format(const struct run_setup *setup, uint64_t available_bytes, struct buf *out);

#endif
