/* cli/render/dry_run.h - what a run would measure, without starting or writing anything. */
#ifndef CLI_RENDER_DRY_RUN_H
#define CLI_RENDER_DRY_RUN_H

#include "base/buf.h"
#include "cli/run_setup.h"
#include "store/index.h"

#define DRY_RUN_BYTES_MAX ((size_t)64 * 1024 * 1024)

/* What a dry run goes by. Borrowed: for the call. */
struct dry_run {
    const struct run_setup *setup;
    const struct store_index *finished; /* what --resume would skip; NULL: nothing */
    const char *environment_id;         /* under which those are */
    uint64_t available_bytes;           /* memory of the host; 0 = not known */
    uint64_t card_bytes;                /* of the smallest card; 0 = not known */
};

/* A line a cell: index, id, shape, the engine's own prediction of memory and time, and whether it
 * would fit; and what all of it would take. */
void dry_run_format(const struct dry_run *dry_run, struct buf *out);

#endif
