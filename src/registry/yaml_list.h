/* registry/yaml_list.h - which list of a YAML text holds the entries. */
#ifndef REGISTRY_YAML_LIST_H
#define REGISTRY_YAML_LIST_H

#include "registry/yaml_tree.h"

/* *ret_list: a sequence, or a null that may become one; YAML_NONE: the text holds no value, and a
 * list may be made in it. `key` is as for yaml_edit(). */
MUST_CHECK enum status yaml_list_find(const struct yaml_tree *tree, const char *key,
                                      size_t *ret_list, struct err *err);
/* The text of an item's id, also where it is an alias; NULL: it has none. Borrowed. */
const char *yaml_list_id(const struct yaml_tree *tree, size_t item);

#endif
