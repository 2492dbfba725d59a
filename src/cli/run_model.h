/* cli/run_model.h - what --model and --set say, into a cell. */
#ifndef CLI_RUN_MODEL_H
#define CLI_RUN_MODEL_H

#include "cli/run_options.h"
#include "engines/engine.h"

/* Fills the cell's model, model_source, model_ref and options.settings_json; reads
 * options.keeps_defaults. `ops` is the engine; NULL for exec:. STATUS_INVALID names the flag and
 * what is valid. */
MUST_CHECK enum status run_model_take(const struct run_options *options,
                                      const struct engine_ops *ops, struct cell *cell,
                                      struct err *err);

#endif
