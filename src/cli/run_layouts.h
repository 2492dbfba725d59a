/* cli/run_layouts.h - the layouts of --parallel over the devices of --devices. */
#ifndef CLI_RUN_LAYOUTS_H
#define CLI_RUN_LAYOUTS_H

#include "cli/options.h"
#include "plan/plan.h"
#include "spec/cell.h"

/* Those that are no product, in completion and help. */
extern const struct option_choice run_layout_choices[];

/* One word of --parallel: a layout; a product, "fsdp:2,tp:2"; or without numbers several layouts,
 * "ddp,fsdp". */
MUST_CHECK enum status run_check_layouts(const char *text, struct err *err);
/* All words, over the devices as given (NULL = one), into axes->parallels: each once. Several
 * devices need a layout, and a layout needs several. */
MUST_CHECK enum status run_layouts_take(const struct option_texts *words, const char *devices,
                                        struct plan_axes *axes, struct err *err);

/* Is it "min" or "cpu:min", a number of devices that is to be found? NULL: no. The plan's cells
 * then have one device, and a layout for more of them. */
bool run_layouts_are_found(const char *devices);
/* So many devices for such a cell; on one it has no layout. */
void run_layouts_put(uint32_t devices_count, struct cell *cell);
/* Do its rows, and what the layout divides, divide over so many? */
bool run_layouts_divide(const struct cell *cell, uint32_t devices_count);

#endif
