/* plan/plan.h - axes to an ordered list of cells. */
#ifndef PLAN_PLAN_H
#define PLAN_PLAN_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "spec/cell.h"

#define PLAN_AXIS_VALUES_MAX 1024
#define PLAN_LAYOUTS_MAX     16
#define PLAN_CELLS_MAX       100000

/* What stands for a value that is to be found by trials: the largest size that fits, the fastest,
 * or the least (of devices). */
enum plan_goal { PLAN_GOAL_NONE, PLAN_GOAL_MAX, PLAN_GOAL_BEST, PLAN_GOAL_MIN };

/* A list axis of whole numbers, in the order given, without repeats. With a goal its one value is
 * 1, until the size is found. */
struct plan_axis {
    enum plan_goal goal;
    uint32_t values[PLAN_AXIS_VALUES_MAX];
    size_t count;
};

/* One word of the axis grammar, added to `axis`: "128", "128,512", "128-2048*2" (first, then each
 * twice the last, up to 2048), "64-256+64" (step 64), "1-4" (step 1). Values from 1 to `max`.
 * The error text names the nearest valid value. */
MUST_CHECK enum status plan_axis_add(struct plan_axis *axis, const char *text, uint32_t max,
                                     struct err *err);

struct plan_axes {
    struct cell base; /* everything that is the same in all cells */
    enum cell_mode modes[CELL_MODE_COUNT];
    size_t modes_count;
    enum cell_precision precisions[CELL_PRECISION_COUNT];
    size_t precisions_count;
    char parallels[PLAN_LAYOUTS_MAX][PARALLEL_TEXT_BYTES]; /* settled */
    size_t parallels_count;
    struct plan_axis seq_lens;
    struct plan_axis batch_sizes;
    bool keeps_length; /* base.model.max_seq_len is the user's own and stays */
};

struct plan {
    /* Owned. Order: parallel, precision, seq_len, batch_size, mode (innermost), as published. */
    struct cell *cells;
    size_t cells_count;
};

/* Cartesian product. Sets each cell's model.max_seq_len to its seq_len, but for keeps_length.
 * STATUS_LIMIT over PLAN_CELLS_MAX, STATUS_INVALID for a sequence longer than a length that is
 * kept. */
MUST_CHECK enum status plan_make(const struct plan_axes *axes, struct plan *ret_plan,
                                 struct err *err);
/* Of cells that are one and the same the first stays; the order does, too. (Layouts differ no more
 * where one device is enough.) */
MUST_CHECK enum status plan_drop_repeats(struct plan *plan, struct err *err);
void plan_release(struct plan *plan);

#endif
