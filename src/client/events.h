/* client/events.h - what happens, as it happens, told to a list of listeners: the progress line,
 * the events' file (client/event_log.h), the HUD. Listeners must not block.
 */
#ifndef CLIENT_EVENTS_H
#define CLIENT_EVENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/gauges.h"
#include "client/watch.h"
#include "measure/policy.h"
#include "result/record.h"
#include "spec/cell.h"

enum event_phase {
    EVENT_STARTING,
    EVENT_OPENING,
    EVENT_WARMUP,
    EVENT_MEASURING,
    EVENT_WAITING,  /* for others to leave the processors */
    EVENT_CHECKING, /* of `tokmark check` alone */
    EVENT_CLOSING
};

/* A trial of a cell. Borrowed, with what it points to: for the call, `cell` until the trial's
 * cell_finished. */
struct event_cell {
    const struct cell *cell;
    const char *cell_id;
    uint32_t trial;
    uint64_t position; /* its turn in the sweep, 0-based, over all trials */
    bool is_canary;    /* the canary cell measured again: none of the sweep's cells */
};

/* Borrowed: for the call. */
struct event_block {
    const struct measure_state *state; /* with the block in it */
    uint32_t steps_count;
    uint64_t window_ns;
    double loss; /* of its last step; NaN = none */
};

struct event_listener {
    void *context;                     /* borrowed: while the client lives */
    const struct event_listener *next; /* borrowed: the same; who is told after this one */
    /* Every function may be NULL. */
    void (*cell_started)(void *context, const struct event_cell *cell);
    void (*phase_changed)(void *context, enum event_phase phase);
    void (*block_done)(void *context, const struct event_block *block);
    /* While waiting for the worker, from time to time; tick_ns: at least that often, for who draws
     * something that moves (it takes a processor's time from the worker); 0 = whenever. */
    void (*tick)(void *context);
    uint64_t tick_ns;
    /* While waiting, inside a block too: only to be kept. */
    void (*memory_seen)(void *context, const struct watch_look *look);
    /* Between measured blocks, at most once a second: only to be kept. */
    void (*machine_seen)(void *context, const struct gauges *gauges);
    void (*cell_finished)(void *context, const struct record *record);
    /* What --resume finds finished. */
    void (*cell_skipped)(void *context, const struct event_cell *cell);
    /* The record is in the file of that name in the folder, from the byte `offset` on. */
    void (*record_stored)(void *context, const struct record *record, const char *file_name,
                          uint64_t offset);
};

/* The word of a phase in files and reason codes. Static. */
const char *event_phase_name(enum event_phase phase);

/* Tell all of `events`, which may be NULL. */
void events_cell_started(const struct event_listener *events, const struct event_cell *cell);
void events_phase_changed(const struct event_listener *events, enum event_phase phase);
void events_block_done(const struct event_listener *events, const struct event_block *block);
void events_tick(const struct event_listener *events);
void events_memory_seen(const struct event_listener *events, const struct watch_look *look);
void events_machine_seen(const struct event_listener *events, const struct gauges *gauges);
void events_cell_finished(const struct event_listener *events, const struct record *record);
void events_cell_skipped(const struct event_listener *events, const struct event_cell *cell);
void events_record_stored(const struct event_listener *events, const struct record *record,
                          const char *file_name, uint64_t offset);
/* The shortest tick that one of them wants; `otherwise_ns` where none does. */
uint64_t events_tick_ns(const struct event_listener *events, uint64_t otherwise_ns);

#endif
