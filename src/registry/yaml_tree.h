/* registry/yaml_tree.h - a YAML text as nodes that know which bytes they are. Nothing is ever
 * written from it: an edit is a splice of bytes, and the tree says where and checks what came out.
 */
#ifndef REGISTRY_YAML_TREE_H
#define REGISTRY_YAML_TREE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/status.h"

#define YAML_BYTES_MAX ((size_t)64 << 20)
#define YAML_DEPTH_MAX 128
#define YAML_NONE      ((size_t)-1)

enum yaml_kind { YAML_SCALAR, YAML_SEQUENCE, YAML_MAPPING, YAML_ALIAS };

/* Links are indices into `nodes`, or YAML_NONE. Children of a mapping are key, value, key ... */
struct yaml_node {
    enum yaml_kind kind;
    bool is_flow;         /* a collection in brackets */
    bool is_plain;        /* a scalar without quotes */
    bool is_block_scalar; /* | or > */
    char quote;           /* of a quoted scalar: ' or " */
    size_t start, end;    /* its bytes; of a block collection `end` is no use: yaml_last_byte() */
    size_t text, text_bytes; /* of a scalar; of an alias the anchor's name */
    size_t anchor, tag;      /* texts; YAML_NONE = none */
    size_t parent, first_child, last_child, next;
};

struct yaml_tree {
    const char *bytes; /* borrowed: the text */
    size_t bytes_count;
    size_t mark_bytes;       /* of a byte order mark */
    struct yaml_node *nodes; /* owned */
    size_t count, capacity;
    struct buf texts;
    size_t documents_count;
    size_t first_root; /* of the first document; `next` leads to the others'. YAML_NONE: none */
};

/* STATUS_INVALID says line and fault: no YAML, no UTF-8, nested too deep. */
MUST_CHECK enum status yaml_parse(const char *bytes, size_t bytes_count, struct yaml_tree *ret_tree,
                                  struct err *err);
/* No-op on a zeroed one. */
void yaml_release(struct yaml_tree *tree);

const char *yaml_text(const struct yaml_tree *tree, size_t node);
bool yaml_has_text(const struct yaml_tree *tree, size_t node, const char *text);
/* Is the node a scalar that stands for nothing: empty, ~ or null, without quotes? */
bool yaml_is_null(const struct yaml_tree *tree, size_t node);
/* What an alias stands for; else the node itself. YAML_NONE: an anchor that is not there. */
size_t yaml_resolve(const struct yaml_tree *tree, size_t node);
/* The value of a key of a mapping; YAML_NONE: it has none. *ret_count: how often it is there. */
size_t yaml_find_key(const struct yaml_tree *tree, size_t mapping, const char *key,
                     size_t *ret_count);
/* Does an alias stand for the node, or for something that it is in? Then a change here is one
 * elsewhere. */
bool yaml_is_shared(const struct yaml_tree *tree, size_t node);

/* The last scalar, alias or bracket of a node: it ends where the node's content does. */
size_t yaml_last_leaf(const struct yaml_tree *tree, size_t node);
/* Number of a byte's line, from 1, and where lines begin and end. yaml_next_line() is the byte
 * behind the line's end, or the end of the text. */
size_t yaml_line_number(const struct yaml_tree *tree, size_t at);
size_t yaml_line_start(const struct yaml_tree *tree, size_t at);
size_t yaml_next_line(const struct yaml_tree *tree, size_t at);
/* Bytes of the line break at `at`; 0: there is none. */
size_t yaml_break_bytes(const struct yaml_tree *tree, size_t at);
/* Where the first '-' of a block sequence stands. */
size_t yaml_first_dash(const struct yaml_tree *tree, size_t sequence);

#endif
