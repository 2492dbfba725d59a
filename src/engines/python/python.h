/* engines/python/python.h - the engines that are Python packages: they run in the user's own
 * interpreter, so that a user's model runs as it does at home.
 *
 * The worker's package (tokmark_worker/) is part of this program. It is handed to the interpreter
 * in memory: nothing is unpacked, nothing can be out of date or half written.
 */
#ifndef ENGINES_PYTHON_PYTHON_H
#define ENGINES_PYTHON_PYTHON_H

#include "engines/engine.h"

extern const struct engine_ops pytorch_engine, jax_engine;

/* Becomes the interpreter, running the package with `arguments` (NULL ends them). What was standard
 * input and output are private descriptors from then on, which the package is told ("IN,OUT", its
 * first argument): nothing that starts before it can print into them. Returns only with the reason
 * why not. `path` is the interpreter. */
MUST_CHECK enum status python_become(const char *path, const char *const *arguments,
                                     struct err *err);

#endif
