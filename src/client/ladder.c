#include "client/ladder.h"

#include "base/clock.h"

/* Between two looks at whether a signal has come. */
#define SLICE_NS (50 * NS_PER_MS)

bool ladder_is_urgent(const struct client_options *options)
{
    return client_is_interrupted(options) && *options->interrupt > 1;
}

bool ladder_wait(struct spawn *spawn, const struct client_options *options, uint64_t deadline_ns)
{
    bool was_interrupted = false;
    for (;;) {
        uint64_t now_ns = clock_now_ns();
        bool is_first = client_is_interrupted(options) && !was_interrupted;
        if (is_first && now_ns + options->kill_grace_ns < deadline_ns)
            deadline_ns = now_ns + options->kill_grace_ns;
        was_interrupted |= is_first;
        bool is_over = ladder_is_urgent(options) || now_ns >= deadline_ns;
        uint64_t left_ns = is_over ? 0 : deadline_ns - now_ns;
        if (spawn_wait(spawn, now_ns + (left_ns < SLICE_NS ? left_ns : SLICE_NS)))
            return true;
        if (is_over)
            return false;
    }
}

void ladder_end(struct spawn *spawn, const struct client_options *options)
{
    spawn_terminate(spawn);
    if (!ladder_wait(spawn, options, clock_now_ns() + options->kill_grace_ns))
        (void)spawn_kill(spawn);
}
