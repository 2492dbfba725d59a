/* registry/yaml_file.h - entries into a YAML file, which is replaced whole or not at all. */
#ifndef REGISTRY_YAML_FILE_H
#define REGISTRY_YAML_FILE_H

#include "registry/yaml_edit.h"

/* As yaml_edit(), on the file of that path; one that is not there is made. *ret_diff: initialised
 * by the caller; what changed. `only_looks`: nothing is written. A file in which nothing changes is
 * not touched. */
MUST_CHECK enum status yaml_file_edit(const char *path, const char *key,
                                      const struct entry *entries, size_t entries_count,
                                      bool only_looks, struct buf *ret_diff,
                                      struct yaml_edit_counts *ret_counts, struct err *err);

#endif
