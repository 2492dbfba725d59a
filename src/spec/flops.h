/* spec/flops.h - the work of one step of a cell: operations, and bytes that have to be read. The
 * formulas are in docs/machine.md.
 */
#ifndef SPEC_FLOPS_H
#define SPEC_FLOPS_H

#include <stdbool.h>

#include "spec/cell.h"

enum flops_count {
    FLOPS_MODEL,   /* attention in full, only the chosen experts: `step_flops` */
    FLOPS_CAUSAL,  /* of attention what a causal mask leaves, for a model that has one */
    FLOPS_EXECUTED /* every expert, where the cell asks for that */
};

/* The unit that a precision's matmuls run on, as peaks and datasheets name it: "bf16". */
const char *flops_unit(enum cell_precision precision);
/* Of a cell whose model is known by its preset. */
double flops_step(const struct cell *cell, enum flops_count count);
/* What one step of decode reads at least: weights that work on its tokens, and the cached keys and
 * values. False: the cell is no decode. */
bool flops_decode_bytes(const struct cell *cell, double weight_bytes, double cache_bytes,
                        double *ret_bytes);

#endif
