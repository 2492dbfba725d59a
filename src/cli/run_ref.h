/* cli/run_ref.h - what --model means where it is no preset: a file, a module, a folder of
 * transformers, or an id of the Hugging Face Hub that lies in its cache. Nothing is downloaded. */
#ifndef CLI_RUN_REF_H
#define CLI_RUN_REF_H

#include <stdbool.h>

#include "base/status.h"
#include "spec/cell.h"

#define RUN_REF_HF "hf:"

/* Is it written like one of these? Presets have neither ':' nor '/', but for files in .json. */
bool run_ref_is_own(const char *text);
/* Is it more than a file of tensors, as "model.pt" and "model.gguf" are? STATUS_INVALID says what
 * to give instead. */
MUST_CHECK enum status run_ref_require_code(const char *text, struct err *err);
/* Is it the reference of a folder of transformers? */
bool run_ref_is_hf(const char *ref);

/* ret_ref: what the worker gets, with absolute paths: "pkg.module:NAME", "/FILE.py:NAME",
 * "/FOLDER/pkg.module:NAME" or "hf:/FOLDER". ret_name: what records call it. STATUS_INVALID says
 * what there is not, and how to say it. */
MUST_CHECK enum status run_ref_find(const char *text, char ret_ref[CELL_PATH_BYTES],
                                    char ret_name[MODEL_NAME_BYTES], struct err *err);

#endif
