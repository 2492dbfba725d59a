/* engines/null/null.h - an engine that does nothing: what is measured is the harness itself. It is
 * also the one to copy when writing a new engine. */
#ifndef ENGINES_NULL_NULL_H
#define ENGINES_NULL_NULL_H

#include "engines/engine.h"

extern const struct engine_ops null_engine;

#endif
