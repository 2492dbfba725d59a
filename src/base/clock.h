/* base/clock.h - the clocks: monotonic for durations, realtime only as a stamp, and what this
 * process has used the CPUs. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

#define NS_PER_US 1000ULL
#define NS_PER_MS 1000000ULL
#define NS_PER_S  1000000000ULL

/* What two readings can be off by. */
#define CLOCK_TICKS_NS    2.0

#define CLOCK_STAMP_BYTES 32

/* CLOCK_MONOTONIC in nanoseconds. */
uint64_t clock_now_ns(void);
/* What is left of a wait in milliseconds, for poll(2): rounded up, so that no wait ends before its
 * time, and none that is over goes on; at most `ms_max`. */
int clock_poll_ms(uint64_t left_ns, int ms_max);
/* Processor time of this process, all threads, user and system, in nanoseconds. */
uint64_t clock_cpu_ns(void);
/* UTC, ISO 8601 with milliseconds: "2026-11-22T15:04:05.123Z". */
void clock_stamp(char text[CLOCK_STAMP_BYTES]);
/* Since 1970, UTC: a stamp, too. */
uint64_t clock_wall_ns(void);
/* The stamp so many days after, or before, another; false, nothing set, for a text that is none.
 * Stamps sort as text. */
bool clock_stamp_shift(const char *stamp, int days, char ret_text[CLOCK_STAMP_BYTES]);
/* The stamp as nanoseconds since 1970; false, nothing set, for a text that is none. */
bool clock_stamp_ns(const char *stamp, uint64_t *ret_ns);

#endif
