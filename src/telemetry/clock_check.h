/* telemetry/clock_check.h - how fast is the machine's clock just now? Fixed work whose time is a
 * fixed number of cycles, for when a worker is idle: virtual machines show no clock, and within a
 * run a machine that is slow for minutes (power limit, heat, a governor) is as steady as a fast
 * one.
 */
#ifndef TELEMETRY_CLOCK_CHECK_H
#define TELEMETRY_CLOCK_CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ns of a chain of 500,000 multiplications, each of which waits for the one before; median of 9, so
 * that one disturbance says nothing. Some 4 ms in all. It feels the clock, not caches or memory. */
uint64_t clock_check_measure(void);

/* How much longer than the best is still the usual clock rate. */
#define CLOCK_CHECK_LIMIT_PERCENT 8.0

/* True, with a sentence, when `seen_ns` is beyond that. What is not known (0) is not slow. `when`
 * is "before" or "after". */
bool clock_check_is_slow(uint64_t best_ns, uint64_t seen_ns, const char *when, char *ret_text,
                         size_t text_bytes);

#endif
