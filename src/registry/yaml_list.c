#include "registry/yaml_list.h"

#include <string.h>

#include "base/nearest.h"

#define NAMES_MAX 64

struct lists_found {
    size_t first, second; /* the first two lists found */
};

const char *yaml_list_id(const struct yaml_tree *tree, size_t item)
{
    size_t count;
    item = yaml_resolve(tree, item);
    if (item == YAML_NONE || tree->nodes[item].kind != YAML_MAPPING)
        return NULL;
    size_t value = yaml_find_key(tree, item, "id", &count);
    value = value != YAML_NONE ? yaml_resolve(tree, value) : YAML_NONE;
    return value != YAML_NONE && tree->nodes[value].kind == YAML_SCALAR ? yaml_text(tree, value)
                                                                        : NULL;
}

static bool is_list_of_entries(const struct yaml_tree *tree, size_t node)
{
    if (tree->nodes[node].kind != YAML_SEQUENCE)
        return false;
    for (size_t at = tree->nodes[node].first_child; at != YAML_NONE; at = tree->nodes[at].next)
        if (tree->nodes[at].kind != YAML_ALIAS && yaml_list_id(tree, at) != NULL)
            return true;
    return false;
}

/* The outermost ones: an entry may hold lists of its own. At most YAML_DEPTH_MAX deep. */
static void search(const struct yaml_tree *tree, size_t node, struct lists_found *finding)
{
    if (is_list_of_entries(tree, node)) {
        *(finding->first == YAML_NONE ? &finding->first : &finding->second) = node;
        return;
    }
    for (size_t at = tree->nodes[node].first_child; at != YAML_NONE; at = tree->nodes[at].next)
        search(tree, at, finding);
}

static bool may_be_list(const struct yaml_tree *tree, size_t node)
{
    return tree->nodes[node].kind == YAML_SEQUENCE || yaml_is_null(tree, node);
}

static enum status find_alone(const struct yaml_tree *tree, size_t *ret_list, struct err *err)
{
    struct lists_found finding = {YAML_NONE, YAML_NONE};
    for (size_t at = tree->first_root; at != YAML_NONE; at = tree->nodes[at].next)
        search(tree, at, &finding);
    if (finding.second != YAML_NONE)
        return ERR(
            err, STATUS_INVALID,
            "it holds several lists of entries with an id (lines %zu and %zu); name one with "
            "--key",
            yaml_line_number(tree, tree->nodes[finding.first].start),
            yaml_line_number(tree, tree->nodes[finding.second].start));
    *ret_list = finding.first;
    if (finding.first != YAML_NONE || tree->first_root == YAML_NONE)
        return STATUS_OK;
    size_t root = tree->first_root;
    bool is_empty = tree->nodes[root].first_child == YAML_NONE && may_be_list(tree, root);
    if (tree->documents_count > 1 || !is_empty)
        return ERR(err, STATUS_INVALID,
                   "it holds no list of entries with an id; name the list with --key");
    *ret_list = root;
    return STATUS_OK;
}

/* Goes down by keys; a key may have dots in it. */
static size_t follow(const struct yaml_tree *tree, size_t node, const char *key, size_t key_bytes)
{
    if (tree->nodes[node].kind != YAML_MAPPING)
        return YAML_NONE;
    for (size_t at = tree->nodes[node].first_child; at != YAML_NONE;) {
        size_t value = tree->nodes[at].next;
        size_t bytes = tree->nodes[at].text_bytes;
        bool is_start = tree->nodes[at].kind == YAML_SCALAR && bytes <= key_bytes &&
                        memcmp(yaml_text(tree, at), key, bytes) == 0;
        if (is_start && bytes == key_bytes)
            return value;
        if (is_start && key[bytes] == '.') {
            size_t found = follow(tree, value, key + bytes + 1, key_bytes - bytes - 1);
            if (found != YAML_NONE)
                return found;
        }
        at = tree->nodes[value].next;
    }
    return YAML_NONE;
}

static enum status say_no_key(const struct yaml_tree *tree, const char *key, struct err *err)
{
    const char *names[NAMES_MAX];
    size_t count = 0;
    struct nearest_hint hint;
    size_t root = tree->first_root;
    size_t at = tree->nodes[root].kind == YAML_MAPPING ? tree->nodes[root].first_child : YAML_NONE;
    for (; at != YAML_NONE && count < NAMES_MAX; at = tree->nodes[tree->nodes[at].next].next)
        names[count++] = yaml_text(tree, at);
    if (count == 0)
        return ERR(err, STATUS_INVALID, "it has no keys at its top, so no --key %.200s", key);
    return ERR(err, STATUS_INVALID, "it has no key '%.200s'; %s", key,
               nearest_hint(&hint, "", key, names, count));
}

enum status yaml_list_find(const struct yaml_tree *tree, const char *key, size_t *ret_list,
                           struct err *err)
{
    size_t found = YAML_NONE;
    if (key == NULL)
        return find_alone(tree, ret_list, err);
    if (tree->first_root == YAML_NONE)
        return ERR(err, STATUS_INVALID, "it is empty, so it has no key '%.200s'", key);
    for (size_t at = tree->first_root; at != YAML_NONE; at = tree->nodes[at].next) {
        size_t value = follow(tree, at, key, strlen(key));
        if (value != YAML_NONE && found != YAML_NONE)
            return ERR(err, STATUS_INVALID, "several of its documents have the key '%.200s'", key);
        found = value != YAML_NONE ? value : found;
    }
    if (found == YAML_NONE)
        return say_no_key(tree, key, err);
    if (!may_be_list(tree, found))
        return ERR(err, STATUS_INVALID, "line %zu: what is under '%.200s' is no list",
                   yaml_line_number(tree, tree->nodes[found].start), key);
    *ret_list = found;
    return STATUS_OK;
}
