#include "registry/yaml_tree.h"

#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#define CHECKPOINT_CHARS 256
#define NODES_MAX        ((size_t)1 << 24)

/* libyaml counts characters; every CHECKPOINT_CHARS-th one's byte is kept. */
struct yaml_places {
    size_t *bytes; /* owned */
    size_t count;
};

struct builder {
    struct yaml_tree *tree; /* borrowed for the call */
    struct yaml_places places;
    size_t open[YAML_DEPTH_MAX]; /* collections that have not ended */
    size_t depth;
    size_t last_root;
};

static const char utf8_mark[] = "\xEF\xBB\xBF";

/* --- places --- */

static size_t char_bytes(unsigned char lead)
{
    return lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
}

static enum status find_places(const struct yaml_tree *tree, struct yaml_places *ret_places,
                               struct err *err)
{
    size_t *bytes = malloc((tree->bytes_count / CHECKPOINT_CHARS + 1) * sizeof(*bytes));
    if (bytes == NULL)
        return ERR(err, STATUS_NOMEM, "no memory to read YAML");
    size_t chars = 0;
    for (size_t at = tree->mark_bytes; at < tree->bytes_count; chars++) {
        if (chars % CHECKPOINT_CHARS == 0)
            bytes[chars / CHECKPOINT_CHARS] = at;
        at += char_bytes((unsigned char)tree->bytes[at]);
    }
    *ret_places = (struct yaml_places){bytes, (chars + CHECKPOINT_CHARS - 1) / CHECKPOINT_CHARS};
    return STATUS_OK;
}

static size_t place_of(const struct builder *builder, const yaml_mark_t *mark)
{
    const struct yaml_tree *tree = builder->tree;
    if (mark->index / CHECKPOINT_CHARS >= builder->places.count)
        return tree->bytes_count;
    size_t at = builder->places.bytes[mark->index / CHECKPOINT_CHARS];
    for (size_t i = mark->index % CHECKPOINT_CHARS; i > 0 && at < tree->bytes_count; i--)
        at += char_bytes((unsigned char)tree->bytes[at]);
    return at < tree->bytes_count ? at : tree->bytes_count;
}

/* --- nodes --- */

static size_t keep_text(struct yaml_tree *tree, const yaml_char_t *text, size_t bytes)
{
    if (text == NULL)
        return YAML_NONE;
    size_t at = tree->texts.length_bytes;
    buf_append(&tree->texts, text, bytes);
    buf_append_char(&tree->texts, '\0');
    return at;
}

static size_t keep_name(struct yaml_tree *tree, const yaml_char_t *name)
{
    return keep_text(tree, name, name != NULL ? strlen((const char *)name) : 0);
}

static void link_node(struct builder *builder, size_t index)
{
    struct yaml_tree *tree = builder->tree;
    size_t parent = builder->depth > 0 ? builder->open[builder->depth - 1] : YAML_NONE;
    size_t before = parent != YAML_NONE ? tree->nodes[parent].last_child : builder->last_root;
    tree->nodes[index].parent = parent;
    if (before != YAML_NONE)
        tree->nodes[before].next = index;
    else if (parent != YAML_NONE)
        tree->nodes[parent].first_child = index;
    else
        tree->first_root = index;
    if (parent != YAML_NONE)
        tree->nodes[parent].last_child = index;
    else
        builder->last_root = index;
}

static enum status add_node(struct builder *builder, const yaml_event_t *event,
                            struct yaml_node node, size_t *ret_index, struct err *err)
{
    struct yaml_tree *tree = builder->tree;
    if (tree->count == tree->capacity) {
        size_t capacity = tree->capacity > 0 ? tree->capacity * 2 : 64;
        struct yaml_node *nodes =
            capacity <= NODES_MAX ? realloc(tree->nodes, capacity * sizeof(*nodes)) : NULL;
        if (nodes == NULL)
            return ERR(err, STATUS_LIMIT, "too many nodes, or no memory for them");
        tree->nodes = nodes;
        tree->capacity = capacity;
    }
    node.start = place_of(builder, &event->start_mark);
    node.end = place_of(builder, &event->end_mark);
    node.parent = node.first_child = node.last_child = node.next = YAML_NONE;
    size_t index = tree->count++;
    tree->nodes[index] = node;
    link_node(builder, index);
    *ret_index = index;
    return STATUS_OK;
}

static enum status add_scalar(struct builder *builder, const yaml_event_t *event, struct err *err)
{
    yaml_scalar_style_t style = event->data.scalar.style;
    size_t index;
    struct yaml_node node = {
        .kind = YAML_SCALAR,
        .is_plain = style == YAML_PLAIN_SCALAR_STYLE || style == YAML_ANY_SCALAR_STYLE,
        .is_block_scalar = style == YAML_LITERAL_SCALAR_STYLE || style == YAML_FOLDED_SCALAR_STYLE,
        .text = keep_text(builder->tree, event->data.scalar.value, event->data.scalar.length),
        .text_bytes = event->data.scalar.length,
        .anchor = keep_name(builder->tree, event->data.scalar.anchor),
        .tag = keep_name(builder->tree, event->data.scalar.tag),
    };
    if (style == YAML_SINGLE_QUOTED_SCALAR_STYLE)
        node.quote = '\'';
    if (style == YAML_DOUBLE_QUOTED_SCALAR_STYLE)
        node.quote = '"';
    return add_node(builder, event, node, &index, err);
}

static enum status add_alias(struct builder *builder, const yaml_event_t *event, struct err *err)
{
    size_t index;
    const char *name = (const char *)event->data.alias.anchor;
    enum status status =
        add_node(builder, event,
                 (struct yaml_node){.kind = YAML_ALIAS,
                                    .text = keep_name(builder->tree, event->data.alias.anchor),
                                    .text_bytes = strlen(name),
                                    .anchor = YAML_NONE,
                                    .tag = YAML_NONE},
                 &index, err);
    if (status == STATUS_OK && yaml_resolve(builder->tree, index) == YAML_NONE)
        return ERR(err, STATUS_INVALID, "line %zu: nothing has the anchor of the alias '*%.100s'",
                   event->start_mark.line + 1, name);
    return status;
}

static enum status open_collection(struct builder *builder, const yaml_event_t *event,
                                   struct err *err)
{
    bool is_sequence = event->type == YAML_SEQUENCE_START_EVENT;
    struct yaml_node node = {
        .kind = is_sequence ? YAML_SEQUENCE : YAML_MAPPING,
        .is_flow = is_sequence ? event->data.sequence_start.style == YAML_FLOW_SEQUENCE_STYLE
                               : event->data.mapping_start.style == YAML_FLOW_MAPPING_STYLE,
        .text = YAML_NONE,
        .anchor = keep_name(builder->tree, is_sequence ? event->data.sequence_start.anchor
                                                       : event->data.mapping_start.anchor),
        .tag = keep_name(builder->tree, is_sequence ? event->data.sequence_start.tag
                                                    : event->data.mapping_start.tag),
    };
    size_t index;
    enum status status = add_node(builder, event, node, &index, err);
    if (status != STATUS_OK)
        return status;
    if (builder->depth == YAML_DEPTH_MAX)
        return ERR(err, STATUS_INVALID, "line %zu: nested deeper than %d levels",
                   event->start_mark.line + 1, YAML_DEPTH_MAX);
    builder->open[builder->depth++] = index;
    return STATUS_OK;
}

static enum status take_event(struct builder *builder, const yaml_event_t *event, struct err *err)
{
    switch (event->type) {
    case YAML_SCALAR_EVENT: return add_scalar(builder, event, err);
    case YAML_ALIAS_EVENT: return add_alias(builder, event, err);
    case YAML_SEQUENCE_START_EVENT:
    case YAML_MAPPING_START_EVENT: return open_collection(builder, event, err);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        builder->tree->nodes[builder->open[--builder->depth]].end =
            place_of(builder, &event->end_mark);
        return STATUS_OK;
    case YAML_DOCUMENT_START_EVENT: builder->tree->documents_count++; return STATUS_OK;
    case YAML_NO_EVENT:
    case YAML_STREAM_START_EVENT:
    case YAML_STREAM_END_EVENT:
    case YAML_DOCUMENT_END_EVENT: return STATUS_OK;
    }
    return STATUS_OK;
}

static enum status build(struct builder *builder, yaml_parser_t *parser, struct err *err)
{
    for (;;) {
        yaml_event_t event;
        if (!yaml_parser_parse(parser, &event)) {
            if (parser->error == YAML_MEMORY_ERROR)
                return ERR(err, STATUS_NOMEM, "no memory to read YAML");
            bool is_reader = parser->error == YAML_READER_ERROR;
            return ERR(err, STATUS_INVALID, "line %zu: %s",
                       is_reader ? yaml_line_number(builder->tree, parser->problem_offset)
                                 : parser->problem_mark.line + 1,
                       parser->problem != NULL ? parser->problem : "it is no YAML");
        }
        enum status status = take_event(builder, &event, err);
        bool is_end = event.type == YAML_STREAM_END_EVENT;
        yaml_event_delete(&event);
        if (status == STATUS_OK && builder->tree->texts.failed)
            status = ERR(err, STATUS_NOMEM, "no memory to read YAML");
        if (status != STATUS_OK || is_end)
            return status;
    }
}

enum status yaml_parse(const char *bytes, size_t bytes_count, struct yaml_tree *ret_tree,
                       struct err *err)
{
    bool has_mark = bytes_count >= 3 && memcmp(bytes, utf8_mark, 3) == 0;
    struct yaml_tree tree = {.bytes = bytes,
                             .bytes_count = bytes_count,
                             .mark_bytes = has_mark ? 3 : 0,
                             .first_root = YAML_NONE};
    struct builder builder = {.tree = &tree, .last_root = YAML_NONE};
    if (bytes_count > YAML_BYTES_MAX)
        return ERR(err, STATUS_INVALID, "it is over %zu MiB", YAML_BYTES_MAX >> 20);
    if (bytes_count >= 2 &&
        (memcmp(bytes, "\xFF\xFE", 2) == 0 || memcmp(bytes, "\xFE\xFF", 2) == 0))
        return ERR(err, STATUS_INVALID,
                   "it is UTF-16 text; convert it first: iconv -f UTF-16 -t UTF-8");
    yaml_parser_t parser;
    if (yaml_parser_initialize(&parser) == 0)
        return ERR(err, STATUS_NOMEM, "no memory to read YAML");
    buf_init(&tree.texts, 4 * YAML_BYTES_MAX);
    yaml_parser_set_input_string(&parser, (const unsigned char *)bytes, bytes_count);
    enum status status = find_places(&tree, &builder.places, err);
    if (status == STATUS_OK)
        status = build(&builder, &parser, err);
    yaml_parser_delete(&parser);
    free(builder.places.bytes);
    if (status == STATUS_OK)
        *ret_tree = tree;
    else
        yaml_release(&tree);
    return status;
}

void yaml_release(struct yaml_tree *tree)
{
    free(tree->nodes);
    buf_release(&tree->texts);
    tree->nodes = NULL;
    tree->count = tree->capacity = 0;
}

/* --- questions --- */

const char *yaml_text(const struct yaml_tree *tree, size_t node)
{
    size_t text = tree->nodes[node].text;
    return text != YAML_NONE ? tree->texts.data + text : "";
}

bool yaml_has_text(const struct yaml_tree *tree, size_t node, const char *text)
{
    return tree->nodes[node].kind == YAML_SCALAR && tree->nodes[node].text_bytes == strlen(text) &&
           strcmp(yaml_text(tree, node), text) == 0;
}

bool yaml_is_null(const struct yaml_tree *tree, size_t node)
{
    return tree->nodes[node].kind == YAML_SCALAR && tree->nodes[node].is_plain &&
           (yaml_has_text(tree, node, "") || yaml_has_text(tree, node, "~") ||
            yaml_has_text(tree, node, "null"));
}

size_t yaml_resolve(const struct yaml_tree *tree, size_t node)
{
    if (tree->nodes[node].kind != YAML_ALIAS)
        return node;
    size_t root = node;
    while (tree->nodes[root].parent != YAML_NONE)
        root = tree->nodes[root].parent;
    /* The last anchor of that name before the alias counts, in the same document. */
    for (size_t i = node; i-- > root;)
        if (tree->nodes[i].anchor != YAML_NONE &&
            strcmp(tree->texts.data + tree->nodes[i].anchor, yaml_text(tree, node)) == 0)
            return i;
    return YAML_NONE;
}

size_t yaml_find_key(const struct yaml_tree *tree, size_t mapping, const char *key,
                     size_t *ret_count)
{
    size_t found = YAML_NONE;
    size_t count = 0;
    for (size_t at = tree->nodes[mapping].first_child; at != YAML_NONE;) {
        size_t value = tree->nodes[at].next;
        if (yaml_has_text(tree, at, key)) {
            found = count++ == 0 ? value : found;
        }
        at = tree->nodes[value].next;
    }
    *ret_count = count;
    return found;
}

static bool is_aliased(const struct yaml_tree *tree, size_t node)
{
    if (tree->nodes[node].anchor == YAML_NONE)
        return false;
    for (size_t i = node + 1; i < tree->count; i++)
        if (tree->nodes[i].kind == YAML_ALIAS &&
            strcmp(yaml_text(tree, i), tree->texts.data + tree->nodes[node].anchor) == 0 &&
            yaml_resolve(tree, i) == node)
            return true;
    return false;
}

bool yaml_is_shared(const struct yaml_tree *tree, size_t node)
{
    for (size_t at = node; at != YAML_NONE; at = tree->nodes[at].parent)
        if (is_aliased(tree, at))
            return true;
    return false;
}

size_t yaml_last_leaf(const struct yaml_tree *tree, size_t node)
{
    const struct yaml_node *at = &tree->nodes[node];
    while ((at->kind == YAML_SEQUENCE || at->kind == YAML_MAPPING) && !at->is_flow) {
        node = at->last_child;
        at = &tree->nodes[node];
    }
    return node;
}

/* --- lines --- */

size_t yaml_break_bytes(const struct yaml_tree *tree, size_t at)
{
    const char *bytes = tree->bytes + at;
    size_t left = tree->bytes_count - at;
    if (left >= 2 && memcmp(bytes, "\r\n", 2) == 0)
        return 2;
    if (left >= 1 && (*bytes == '\n' || *bytes == '\r'))
        return 1;
    if (left >= 2 && memcmp(bytes, "\xC2\x85", 2) == 0)
        return 2;
    /* libyaml ends lines at these too: U+2028, U+2029. */
    return left >= 3 &&
                   (memcmp(bytes, "\xE2\x80\xA8", 3) == 0 || memcmp(bytes, "\xE2\x80\xA9", 3) == 0)
               ? 3
               : 0;
}

size_t yaml_next_line(const struct yaml_tree *tree, size_t at)
{
    while (at < tree->bytes_count && yaml_break_bytes(tree, at) == 0)
        at++;
    return at < tree->bytes_count ? at + yaml_break_bytes(tree, at) : at;
}

size_t yaml_line_start(const struct yaml_tree *tree, size_t at)
{
    size_t start = at;
    while (start > tree->mark_bytes && tree->bytes[start - 1] != '\n')
        start--;
    /* Forwards, because a break read backwards could be a part of another. */
    for (size_t i = start; i < at;) {
        size_t bytes = yaml_break_bytes(tree, i);
        i += bytes > 0 ? bytes : 1;
        if (bytes > 0 && i <= at)
            start = i;
    }
    return start;
}

size_t yaml_line_number(const struct yaml_tree *tree, size_t at)
{
    size_t number = 1;
    for (size_t i = 0; i < at && i < tree->bytes_count;) {
        size_t bytes = yaml_break_bytes(tree, i);
        number += bytes > 0;
        i += bytes > 0 ? bytes : 1;
    }
    return number;
}

size_t yaml_first_dash(const struct yaml_tree *tree, size_t sequence)
{
    size_t at = tree->nodes[sequence].start;
    while (at < tree->bytes_count && tree->bytes[at] != '-') {
        char c = tree->bytes[at];
        if (c == '#')
            at = yaml_next_line(tree, at);
        else if (c == '&' || c == '!')
            while (at < tree->bytes_count && strchr(" \t\r\n", tree->bytes[at]) == NULL)
                at++;
        else
            at++;
    }
    return at;
}
