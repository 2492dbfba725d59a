/* measure/warmup.h - when warm-up ends; the rule is in policy.h. Pure. */
#ifndef MEASURE_WARMUP_H
#define MEASURE_WARMUP_H

#include <stdint.h>

#include "measure/policy.h"

/* Of auto warm-up: by precision it leaves half of the time, or more, to measuring. */
uint64_t warmup_time_max_ns(const struct measure_policy *policy);
/* After a block of warm-up: goes on to measuring if it was the last. */
void warmup_update(struct measure_state *state);

#endif
