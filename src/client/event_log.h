/* client/event_log.h - the events of a run as lines of JSON in DIR/events.jsonl, for whoever looks
 * on: the HUD, `tokmark serve`, anybody's tail -f. docs/events.md says what the lines hold.
 *
 * A listener like any other. It writes between blocks only, one write(2) a line, under the folder's
 * lock that its caller holds, and never waits for the disk. Blocks that come faster than
 * EVENT_LOG_BLOCK_NS are told together. What it cannot write ends it, never the run.
 */
#ifndef CLIENT_EVENT_LOG_H
#define CLIENT_EVENT_LOG_H

#include <stdbool.h>

#include "base/clock.h"
#include "base/hash.h"
#include "client/events.h"
#include "measure/interval.h"
#include "plan/plan.h"
#include "store/lines.h"

/* Raised when a key changes its meaning; new keys and events may come at any time. */
#define EVENT_LOG_SCHEMA 1
/* At most so often is there a line of blocks, and of the machine. */
#define EVENT_LOG_BLOCK_NS   (100 * NS_PER_MS)
#define EVENT_LOG_MACHINE_NS (1 * NS_PER_S)
/* Of a plan, on one line: a longer one takes several. */
#define EVENT_LOG_CELLS_MAX 500

/* What the first line says. Borrowed: for the log's life; the plan for event_log_begin(). */
struct event_log_run {
    const char *run_id;
    const char *command_json; /* array of words */
    const struct plan *plan;
    uint64_t trials;
};

struct event_log {
    struct lines_file file;
    struct err err;     /* why there are no more lines; empty = there are */
    const char *run_id; /* borrowed; NULL = it was never opened */
    /* the trial at work */
    char cell_id[HASH_ID_BYTES];
    uint32_t trial;
    bool is_canary;
    bool is_measuring;
    /* blocks that are not told yet */
    uint32_t steps_count;
    uint64_t window_ns;
    double loss;
    struct measure_interval median_95; /* of the samples when it was worked out last */
    double median_ns;
    size_t median_count;
    uint64_t median_due_ns; /* it is to cost next to nothing of the time that passes */
    uint64_t told_ns;       /* when blocks were told last */
    struct watch_look memory;
    bool has_memory; /* one that is not told yet */
    struct gauges gauges;
    uint64_t machine_told_ns;
    struct buf line; /* scratch */
};

/* Opens DIR/events.jsonl for appending, repairs its end, and writes the run's first lines. A
 * failure is in log->err; everything else then does nothing. */
void event_log_open(struct event_log *log, const char *dir, const struct event_log_run *run);
struct event_listener event_log_listener(struct event_log *log);
/* The run's last line. */
void event_log_end(struct event_log *log, int exit_code);
/* Zeroed is fine. */
void event_log_close(struct event_log *log);

#endif
