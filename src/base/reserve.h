/* base/reserve.h - how much host memory is left to everyone else. One number for the worker, which
 * refuses what would eat into it, and for the supervisor, which ends a worker that does. */
#ifndef BASE_RESERVE_H
#define BASE_RESERVE_H

#include <stdint.h>

/* 512 MiB, or 5 % of the host's memory when that is less. 0 when the host's memory is unknown. */
uint64_t reserve_host_bytes(void);

#endif
