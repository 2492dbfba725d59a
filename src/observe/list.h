/* observe/list.h - the probes by name, for observe/list.c: one line each. */
#ifndef OBSERVE_LIST_H
#define OBSERVE_LIST_H

#include "observe/probe.h"

#define PROBE_LIST(X)     \
    X(parity)             \
    X(throttle)           \
    X(interference)       \
    X(clock_check)        \
    X(voluntary_switches) \
    X(canary)             \
    X(history)            \
    X(variables)          \
    X(energy)             \
    X(cpu_counters)       \
    X(utilization)

#define X(name) extern const struct probe name##_probe;
PROBE_LIST(X)
#undef X

#endif
