/* data/weights_index.h - weights in several safetensors files, and the index that names them:
 *   {"metadata": {...}, "weight_map": {"layers.0.weight": "model-00001-of-00002.safetensors", ...}}
 * The files lie beside the index. */
#ifndef DATA_WEIGHTS_INDEX_H
#define DATA_WEIGHTS_INDEX_H

#include <stdbool.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/status.h"

/* Is the file an index by its name? */
bool weights_index_is_one(const char *path);

/* The file that `--weights PATH` means: PATH itself, or of a folder its
 * model.safetensors.index.json, else its model.safetensors. INVALID where a folder has neither. */
MUST_CHECK enum status weights_index_find(const char *path, char ret_path[FILE_PATH_BYTES],
                                          struct err *err);

/* Hash of the index and of every file that it names. INVALID for no index, or files that are not
 * there: their number and the first of them are named. */
MUST_CHECK enum status weights_index_hash(const char *path, char id[HASH_ID_BYTES],
                                          struct err *err);

#endif
