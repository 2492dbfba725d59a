/* observe/throttle.h - what the probe of thermal throttling has seen. */
#ifndef OBSERVE_THROTTLE_H
#define OBSERVE_THROTTLE_H

#include "telemetry/throttles.h"

struct throttle {
    struct throttles before, after;
};

#endif
