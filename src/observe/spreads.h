/* observe/spreads.h - what other cells have shown on this machine: how far their runs lie apart,
 * for measure/next_run.h. */
#ifndef OBSERVE_SPREADS_H
#define OBSERVE_SPREADS_H

#include <stdbool.h>
#include <stddef.h>

#include "measure/next_run.h"
#include "store/machine.h"

/* So many other cells count, those that were measured last. */
#define SPREADS_MAX 32

/* Of those cells of the book on `run`'s device (run->device, known) that have two runs or more, all
 * but run->id's own and those of a step under a thousandth of its: at full weight those of its kind
 * and about as long a step. How many.
 * `are_undisturbed`: runs that others on the machine had a part in do not count. */
size_t spreads_of_others(const struct machine_book *book, const struct machine_run *run,
                         bool are_undisturbed, struct next_run_spread ret_spreads[SPREADS_MAX]);

#endif
