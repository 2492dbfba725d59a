/* What a made-up worker does: it is sound up to one message, where a fault happens. */
#ifndef SIMULATE_BEHAVIOUR_H
#define SIMULATE_BEHAVIOUR_H

#include <stdbool.h>
#include <stdint.h>

/* What a cell with that fault may be called in the end, in words apart by spaces. */
#define FAULT_MAP(X)                                                              \
    X(NONE, "nothing", "ok unsteady")                                             \
    X(SLOW, "slow, within its time", "ok unsteady")                               \
    X(EXIT, "exits", "crashed")                                                   \
    X(SIGNAL, "dies by a signal", "crashed")                                      \
    X(KERNEL, "is killed for memory", "oom")                                      \
    X(HALF_LINE, "exits inside a line", "protocol_error")                         \
    X(MEMBER, "exits, and another holds its output", "crashed")                   \
    X(HANG, "hangs", "timeout")                                                   \
    X(HANG_DEAF, "hangs, deaf to SIGTERM", "timeout")                             \
    X(HANG_STOPPED, "is stopped", "timeout")                                      \
    X(HANG_MEMBER, "hangs with another in its group", "timeout")                  \
    X(STAYS, "says bye and stays", "timeout")                                     \
    X(READS_NOTHING, "reads nothing any more", "timeout")                         \
    X(CLOSES, "closes its output and lives on", "protocol_error")                 \
    X(GARBAGE, "prints what is no message", "protocol_error")                     \
    X(NUL, "writes a NUL", "protocol_error")                                      \
    X(LONG_LINE, "writes without end", "protocol_error timeout")                  \
    X(WRONG_TYPE, "answers another question", "protocol_error")                   \
    X(TWICE, "answers twice", "protocol_error")                                   \
    X(LEAK, "takes all memory", "oom")                                            \
    X(ERROR_OOM, "says that memory is short", "oom")                              \
    X(ERROR_UNSUPPORTED, "says that it cannot", "unsupported")                    \
    X(ERROR_MODEL, "says that the model is wrong", "invalid")                     \
    X(ERROR_INTERNAL, "says that it failed", "crashed")                           \
    X(CLOCK, "says that more time has passed than has", "invalid protocol_error") \
    X(STEPS, "says that it made fewer steps", "protocol_error")                   \
    X(NO_WRITE, "cannot be written to once", "crashed")                           \
    X(NO_READ, "cannot be read from once", "crashed")                             \
    X(NO_WAIT, "cannot be waited for once", "crashed")                            \
    X(START, "cannot be started", "crashed")

enum fault {
#define X(name, text, verdicts) FAULT_##name,
    FAULT_MAP(X)
#undef X
        FAULTS_COUNT
};

const char *fault_name(enum fault fault);
const char *fault_verdicts(enum fault fault);

/* Of the worker that is started next. */
struct behaviour {
    enum fault fault;
    uint64_t message; /* at which of its requests, from 0 */
    bool is_synthetic;
    bool is_signalled; /* signals come soon after the fault */
    uint64_t key;      /* of its chances */
    uint64_t timeout_ns;
    /* seen */
    uint64_t messages_count;
    bool has_happened;
};

extern struct behaviour behaviour;

#endif
