#include "client/events.h"

const char *event_phase_name(enum event_phase phase)
{
    switch (phase) {
    case EVENT_STARTING: return "start";
    case EVENT_OPENING: return "open";
    case EVENT_WARMUP: return "warmup";
    case EVENT_MEASURING: return "measure";
    case EVENT_WAITING: return "wait";
    case EVENT_CHECKING: return "check";
    case EVENT_CLOSING: return "close";
    }
    return "unknown";
}

/* Calls the function of each listener that has it. */
#define TELL(events, function, ...)                                          \
    for (const struct event_listener *listener = (events); listener != NULL; \
         listener = listener->next)                                          \
        if (listener->function != NULL)                                      \
    listener->function(listener->context, __VA_ARGS__)

void events_cell_started(const struct event_listener *events, const struct event_cell *cell)
{
    TELL(events, cell_started, cell);
}

void events_phase_changed(const struct event_listener *events, enum event_phase phase)
{
    TELL(events, phase_changed, phase);
}

void events_block_done(const struct event_listener *events, const struct event_block *block)
{
    TELL(events, block_done, block);
}

void events_tick(const struct event_listener *events)
{
    for (const struct event_listener *listener = events; listener != NULL;
         listener = listener->next)
        if (listener->tick != NULL)
            listener->tick(listener->context);
}

void events_memory_seen(const struct event_listener *events, const struct watch_look *look)
{
    TELL(events, memory_seen, look);
}

void events_machine_seen(const struct event_listener *events, const struct gauges *gauges)
{
    TELL(events, machine_seen, gauges);
}

void events_cell_finished(const struct event_listener *events, const struct record *record)
{
    TELL(events, cell_finished, record);
}

void events_cell_skipped(const struct event_listener *events, const struct event_cell *cell)
{
    TELL(events, cell_skipped, cell);
}

void events_record_stored(const struct event_listener *events, const struct record *record,
                          const char *file_name, uint64_t offset)
{
    TELL(events, record_stored, record, file_name, offset);
}

uint64_t events_tick_ns(const struct event_listener *events, uint64_t otherwise_ns)
{
    uint64_t least_ns = 0;
    for (const struct event_listener *listener = events; listener != NULL;
         listener = listener->next)
        if (listener->tick_ns > 0 && (least_ns == 0 || listener->tick_ns < least_ns))
            least_ns = listener->tick_ns;
    return least_ns > 0 ? least_ns : otherwise_ns;
}
