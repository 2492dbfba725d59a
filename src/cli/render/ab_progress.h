/* cli/render/ab_progress.h - what `tokmark ab` and `tokmark noise` say on stderr while they go on:
 * on a terminal one line written over and over, elsewhere a line at each comparison's start and
 * end. SIGUSR1 gets the same line at any time. */
#ifndef CLI_RENDER_AB_PROGRESS_H
#define CLI_RENDER_AB_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli/ab_setup.h"
#include "drive/pair.h"

#define AB_PROGRESS_TEXT_BYTES 200

struct ab_progress {
    bool is_quiet;
    bool is_rewriting;
    bool has_line; /* on the screen, without a line end */
    size_t number, total;
    char what[AB_PROGRESS_TEXT_BYTES];
    enum event_phase phase;
    size_t rounds_count;
    bool has_last;
    struct compare_result last;
    uint64_t drawn_ns;
};

void ab_progress_init(struct ab_progress *progress, bool is_quiet, size_t total);
/* Comparison `number` of the total, from 1; says how long it will be. */
void ab_progress_begin(struct ab_progress *progress, size_t number, const char *what,
                       const struct ab_options *options);
void ab_progress_end(struct ab_progress *progress, const char *outcome);
/* Takes the rewritten line off the screen, before anything else is written. */
void ab_progress_clear(struct ab_progress *progress);

struct pair_listener ab_progress_listener(struct ab_progress *progress);
/* For the time between blocks' ends. */
struct event_listener ab_progress_events(struct ab_progress *progress);

#endif
