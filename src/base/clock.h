/* base/clock.h - the two clocks: monotonic for durations, realtime only as a stamp. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

#define NS_PER_US         1000ULL
#define NS_PER_MS         1000000ULL
#define NS_PER_S          1000000000ULL

#define CLOCK_STAMP_BYTES 32

/* CLOCK_MONOTONIC in nanoseconds. */
uint64_t clock_now_ns(void);
/* UTC, ISO 8601 with milliseconds: "2026-11-22T15:04:05.123Z". */
void clock_stamp(char text[CLOCK_STAMP_BYTES]);

#endif
