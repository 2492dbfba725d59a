/* cli/render/progress.h - what a run says on stderr while it goes on: a listener of
 * client/events.h.
 *
 * On a terminal one line is written over and over; elsewhere a plain line at each cell's start and
 * end. SIGUSR1 gets the same line at any time.
 */
#ifndef CLI_RENDER_PROGRESS_H
#define CLI_RENDER_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "client/events.h"

enum progress_style { PROGRESS_NONE, PROGRESS_LINES, PROGRESS_REWRITE };

struct progress {
    enum progress_style style;
    uint64_t cells_total; /* cells times trials */
    uint64_t trials_total;
    uint64_t cells_done; /* skipped ones too */
    uint64_t cells_measured;
    uint64_t measured_ns; /* wall time of those */
    bool is_canary;       /* what is at work is none of the sweep's cells */
    /* the cell at work; NULL between cells */
    const struct cell *cell; /* borrowed: from cell_started to cell_finished */
    uint32_t trial;
    enum event_phase phase;
    uint64_t cell_begin_ns;
    uint64_t warmup_begin_ns;
    uint64_t warmup_steps_count;
    /* of its measuring so far */
    uint64_t steps_count;
    uint64_t samples_count;
    double median_ns; /* of the most recent samples; 0 = none yet */
    double tokens_per_second;
    uint64_t remaining_ns; /* 0 = unknown */
    uint64_t figures_ns;   /* when these were last worked out */
    uint64_t drawn_ns;     /* when the line was last written */
    bool has_line;         /* the line is on the screen, without a line end */
};

void progress_init(struct progress *progress, enum progress_style style, uint64_t cells_count,
                   uint64_t trials_total);
/* Another number of cells than was thought. */
void progress_set_cells(struct progress *progress, uint64_t cells_count);
struct event_listener progress_listener(struct progress *progress);
/* Takes the rewritten line off the screen, before anything else is written. */
void progress_clear(struct progress *progress);
/* "[3/12] train bf16 seq 512 batch 8: measuring, samples 120, ..." */
/* In `columns` (0 = no limit) where it can be: the cell's number, what is done and the newest value
 * always stay. */
void progress_describe(const struct progress *progress, size_t columns, struct buf *out);

#endif
