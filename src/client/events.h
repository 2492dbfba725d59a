/* client/events.h - what happens, as it happens. The progress line is one listener; HUDs come
 * later. Listeners must not block; every function may be NULL. */
#ifndef CLIENT_EVENTS_H
#define CLIENT_EVENTS_H

#include <stddef.h>
#include <stdint.h>

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

struct event_listener {
    void *context; /* borrowed: while the client lives */
    void (*cell_started)(void *context, const struct cell *cell, uint32_t trial);
    void (*phase_changed)(void *context, enum event_phase phase);
    /* After each block; `state` is borrowed for the call. */
    void (*block_done)(void *context, const struct measure_state *state);
    /* While waiting for the worker, from time to time; tick_ns: at least that often, for who draws
     * something that moves (it takes a processor's time from the worker); 0 = whenever. */
    void (*tick)(void *context);
    uint64_t tick_ns;
    void (*cell_finished)(void *context, const struct record *record);
};

#endif
