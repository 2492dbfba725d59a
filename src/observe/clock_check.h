/* observe/clock_check.h - what the clock check has seen. */
#ifndef OBSERVE_CLOCK_CHECK_H
#define OBSERVE_CLOCK_CHECK_H

#include <stdint.h>

struct clock_check {
    uint64_t before_ns, after_ns; /* 0: not looked at */
};

#endif
