/* registry/yaml_change.h - the pieces and the meaning of an edit: what yaml_edit.c decides,
 * yaml_splice.c puts in, and yaml_verify.c checks. */
#ifndef REGISTRY_YAML_CHANGE_H
#define REGISTRY_YAML_CHANGE_H

#include "registry/entry.h"
#include "registry/yaml_tree.h"

enum yaml_op {
    YAML_OP_NONE,
    YAML_OP_SET,    /* a value takes another text: `field` of `entry` */
    YAML_OP_PAIRS,  /* a mapping gets those `fields` of `entry` */
    YAML_OP_TAGS,   /* a list of tags, or a null, gets those `fields` (by index) of its tags */
    YAML_OP_ENTRIES /* the list, or a null, gets the entries that are added */
};

struct yaml_change {
    enum yaml_op op;
    const struct entry *entry; /* borrowed */
    enum entry_field field;
    unsigned fields; /* bits */
};

/* So many bytes at a place are replaced by a piece of text. */
struct yaml_splice {
    size_t at, removed;
    size_t text, text_bytes; /* in `pieces` */
    size_t number;           /* in the order of asking */
};

struct yaml_changes {
    const struct yaml_tree *tree; /* borrowed: the text as it was */
    const char *line_end;         /* borrowed: static */
    size_t list;                  /* YAML_NONE: a new one, behind everything */
    struct yaml_change *of_node;  /* owned: one a node */
    const struct entry **added;   /* owned; the entries borrowed */
    size_t added_count;
    struct yaml_splice *splices; /* owned */
    size_t splices_count, splices_max;
    struct buf pieces;
};

MUST_CHECK enum status yaml_changes_init(const struct yaml_tree *tree, size_t entries_count,
                                         struct yaml_changes *ret_changes, struct err *err);
void yaml_changes_release(struct yaml_changes *changes);

/* Each puts its text in and keeps what it means. */
MUST_CHECK enum status yaml_put_text(struct yaml_changes *changes, size_t value,
                                     const struct entry *entry, enum entry_field field,
                                     struct err *err);
void yaml_put_pairs(struct yaml_changes *changes, size_t mapping, const struct entry *entry,
                    unsigned fields);
void yaml_put_tags(struct yaml_changes *changes, size_t value, const struct entry *entry,
                   unsigned tags);
/* Those of `added`. */
MUST_CHECK enum status yaml_put_entries(struct yaml_changes *changes, struct err *err);

/* Appends the text with all splices. */
void yaml_apply(struct yaml_changes *changes, struct buf *out);
/* Is the other tree the one before with these changes and nothing else? */
bool yaml_verify(const struct yaml_changes *changes, const struct yaml_tree *after);

#endif
