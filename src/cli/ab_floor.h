/* cli/ab_floor.h - how far this machine's own noise may bring two equal sides apart, by what
 * `tokmark noise` has stored (store/machine.h). */
#ifndef CLI_AB_FLOOR_H
#define CLI_AB_FLOOR_H

#include "cli/ab_bench.h"

/* The larger of what is known about the two cells of that pair, in side A's environment. */
void ab_floor_find(struct ab_bench *bench, size_t pair, struct ab_floor *floor);

#endif
