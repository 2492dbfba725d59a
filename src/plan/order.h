/* plan/order.h - in which order the cells of a plan are measured. */
#ifndef PLAN_ORDER_H
#define PLAN_ORDER_H

#include <stddef.h>
#include <stdint.h>

/* ret_order[0..count) = 0 .. count - 1, shuffled by Fisher and Yates; the same for the same seed,
 * trial and count, on any machine. Drift of the machine then does not always meet the same cell. */
void plan_shuffle(uint64_t seed, uint32_t trial, size_t count, size_t *ret_order);

#endif
