/* engines/python/predict.h - the memory that a preset takes in PyTorch or JAX, before anything is
 * started.
 *
 * One table for every cell: weights, gradients, moments, cache of keys and values, and what a step
 * keeps or passes through, by precision, mode, device and form of the experts. Its items are
 * counted from the model's own code (tokmark_worker/torch_model.py, jax_model.py): a change there
 * that keeps more or less changes the table. docs/metrics.md says how far measured peaks are from
 * it.
 */
#ifndef ENGINES_PYTHON_PREDICT_H
#define ENGINES_PYTHON_PREDICT_H

#include "engines/engine.h"

/* By part, of what is highest in a step; on the host the growth of the process, on a device what
 * the framework's allocator gives. Not known (is_known false) of a model of the user's own, and of
 * a precision that neither framework runs. A package of the user's that stands behind a preset's
 * name is taken for tokmark's own model. Pure. */
struct proto_memory_parts predict_torch(const struct cell *cell);
struct proto_memory_parts predict_jax(const struct cell *cell);

#endif
