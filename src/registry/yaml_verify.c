#include <string.h>

#include "registry/yaml_change.h"

/* Borrowed for the call. */
struct yaml_pair {
    const struct yaml_changes *changes;
    const struct yaml_tree *before, *after;
};

/* --- what was put in --- */

static bool is_bare(const struct yaml_tree *tree, size_t node)
{
    return tree->nodes[node].anchor == YAML_NONE && tree->nodes[node].tag == YAML_NONE;
}

static bool is_text(const struct yaml_tree *tree, size_t node, const char *text)
{
    return node != YAML_NONE && is_bare(tree, node) && yaml_has_text(tree, node, text);
}

/* The children from `at` on are those tags, and no more. */
static bool are_tags(const struct yaml_tree *tree, size_t at, const struct entry *entry,
                     unsigned tags)
{
    for (size_t i = 0; i < entry->tags_count; i++) {
        if ((tags & (1U << i)) == 0)
            continue;
        if (!is_text(tree, at, entry->tags[i]))
            return false;
        at = tree->nodes[at].next;
    }
    return at == YAML_NONE;
}

static bool is_value(const struct yaml_tree *tree, size_t node, const struct entry *entry,
                     enum entry_field field)
{
    if (node == YAML_NONE || !is_bare(tree, node))
        return false;
    if (field == ENTRY_TAGS)
        return tree->nodes[node].kind == YAML_SEQUENCE &&
               are_tags(tree, tree->nodes[node].first_child, entry, ~0U);
    return yaml_has_text(tree, node, entry->texts[field]) &&
           (field != ENTRY_VALUE || tree->nodes[node].is_plain);
}

static bool are_pairs(const struct yaml_tree *tree, size_t at, const struct entry *entry,
                      unsigned fields)
{
    for (enum entry_field field = 0; field < ENTRY_FIELDS_COUNT; field++) {
        if ((fields & (1U << field)) == 0 || !entry_has(entry, field))
            continue;
        if (!is_text(tree, at, entry_key(field)) ||
            !is_value(tree, tree->nodes[at].next, entry, field))
            return false;
        at = tree->nodes[tree->nodes[at].next].next;
    }
    return at == YAML_NONE;
}

static bool are_entries(const struct yaml_changes *changes, const struct yaml_tree *tree, size_t at)
{
    for (size_t i = 0; i < changes->added_count; i++) {
        if (at == YAML_NONE || tree->nodes[at].kind != YAML_MAPPING || !is_bare(tree, at) ||
            !are_pairs(tree, tree->nodes[at].first_child, changes->added[i], ~0U))
            return false;
        at = tree->nodes[at].next;
    }
    return at == YAML_NONE;
}

/* --- what was there --- */

static bool is_same_name(const struct yaml_pair *pair, size_t one, size_t other)
{
    if (one == YAML_NONE || other == YAML_NONE)
        return one == other;
    return strcmp(pair->before->texts.data + one, pair->after->texts.data + other) == 0;
}

static bool is_same_content(const struct yaml_pair *pair, const struct yaml_node *one,
                            const struct yaml_node *other)
{
    if (one->kind != other->kind || !is_same_name(pair, one->anchor, other->anchor) ||
        !is_same_name(pair, one->tag, other->tag))
        return false;
    if (one->kind != YAML_SCALAR && one->kind != YAML_ALIAS)
        return true;
    return one->is_plain == other->is_plain && one->text_bytes == other->text_bytes &&
           memcmp(pair->before->texts.data + one->text, pair->after->texts.data + other->text,
                  one->text_bytes) == 0;
}

static bool is_expected_rest(const struct yaml_pair *pair, const struct yaml_change *change,
                             size_t at)
{
    switch (change->op) {
    case YAML_OP_PAIRS: return are_pairs(pair->after, at, change->entry, change->fields);
    case YAML_OP_TAGS: return are_tags(pair->after, at, change->entry, change->fields);
    case YAML_OP_ENTRIES: return are_entries(pair->changes, pair->after, at);
    case YAML_OP_SET:
    case YAML_OP_NONE: break;
    }
    return at == YAML_NONE;
}

/* At most YAML_DEPTH_MAX deep. */
static bool is_expected(const struct yaml_pair *pair, size_t one, size_t other)
{
    const struct yaml_node *old = &pair->before->nodes[one];
    const struct yaml_node *new = &pair->after->nodes[other];
    const struct yaml_change *change = &pair->changes->of_node[one];
    if (change->op == YAML_OP_SET)
        return is_value(pair->after, other, change->entry, change->field);
    bool is_from_null = change->op != YAML_OP_NONE && old->kind == YAML_SCALAR;
    if (is_from_null)
        return new->kind == YAML_SEQUENCE &&is_same_name(pair, old->anchor, new->anchor) &&
               is_same_name(pair, old->tag, new->tag) &&
               is_expected_rest(pair, change, new->first_child);
    if (!is_same_content(pair, old, new))
        return false;
    size_t at = new->first_child;
    for (size_t child = old->first_child; child != YAML_NONE;
         child = pair->before->nodes[child].next) {
        if (at == YAML_NONE || !is_expected(pair, child, at))
            return false;
        at = pair->after->nodes[at].next;
    }
    return is_expected_rest(pair, change, at);
}

bool yaml_verify(const struct yaml_changes *changes, const struct yaml_tree *after)
{
    const struct yaml_pair pair = {changes, changes->tree, after};
    size_t at = after->first_root;
    if (pair.before->first_root == YAML_NONE && changes->added_count > 0)
        return at != YAML_NONE && after->documents_count == 1 && is_bare(after, at) &&
               after->nodes[at].kind == YAML_SEQUENCE &&
               are_entries(changes, after, after->nodes[at].first_child);
    for (size_t root = pair.before->first_root; root != YAML_NONE;
         root = pair.before->nodes[root].next) {
        if (at == YAML_NONE || !is_expected(&pair, root, at))
            return false;
        at = after->nodes[at].next;
    }
    return at == YAML_NONE;
}
