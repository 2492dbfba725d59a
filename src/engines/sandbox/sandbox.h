/* engines/sandbox/sandbox.h - synthetic results, for trying out commands, reports and consumers
 * without a model, a device or any time.
 *
 * Every result follows from the cell and its seed: the same cell gives the same records on any
 * machine. A step takes, before noise,
 *   operations / rate(device, precision) + bytes moved / bandwidth(device) + a fixed overhead,
 * with operations by model_forward_flops() (three times that for train). Nothing sleeps and nothing
 * of the model's size is allocated. The rates are round numbers, of no machine in particular.
 */
#ifndef ENGINES_SANDBOX_SANDBOX_H
#define ENGINES_SANDBOX_SANDBOX_H

#include "engines/engine.h"

extern const struct engine_ops sandbox_engine;

#endif
