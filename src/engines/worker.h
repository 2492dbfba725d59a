/* engines/worker.h - the child process around one C engine. */
#ifndef ENGINES_WORKER_H
#define ENGINES_WORKER_H

#include "engines/engine.h"

/* Speaks protocol v1 on fd 0 and 1 until `close`, EOF or a broken line; returns the exit code.
 * First moves both descriptors to private ones and points fd 1 at stderr. Asks the kernel to be
 * killed with its parent. */
int worker_main(const struct engine_ops *ops);

#endif
