#include <stdlib.h>
#include <string.h>

#include "registry/yaml_change.h"

#define SPLICES_EACH 12 /* an entry's: one a field, pairs, and its place in the list */

static const char *find_line_end(const struct yaml_tree *tree)
{
    for (size_t at = 0; at < tree->bytes_count; at++) {
        if (tree->bytes[at] == '\n')
            return "\n";
        if (tree->bytes[at] == '\r')
            return yaml_break_bytes(tree, at) == 2 ? "\r\n" : "\r";
    }
    return "\n";
}

enum status yaml_changes_init(const struct yaml_tree *tree, size_t entries_count,
                              struct yaml_changes *ret_changes, struct err *err)
{
    struct yaml_changes changes = {.tree = tree,
                                   .line_end = find_line_end(tree),
                                   .list = YAML_NONE,
                                   .splices_max = (entries_count + 1) * SPLICES_EACH};
    changes.of_node = calloc(tree->count + 1, sizeof(*changes.of_node));
    changes.added = calloc(entries_count + 1, sizeof(const struct entry *));
    changes.splices = calloc(changes.splices_max, sizeof(*changes.splices));
    buf_init(&changes.pieces, YAML_BYTES_MAX);
    if (changes.of_node == NULL || changes.added == NULL || changes.splices == NULL) {
        yaml_changes_release(&changes);
        return ERR(err, STATUS_NOMEM, "no memory to edit YAML");
    }
    *ret_changes = changes;
    return STATUS_OK;
}

void yaml_changes_release(struct yaml_changes *changes)
{
    free(changes->of_node);
    free(changes->added);
    free(changes->splices);
    buf_release(&changes->pieces);
    *changes = (struct yaml_changes){0};
}

/* --- places --- */

/* What is appended to `pieces` since `from` goes in at `at`, in place of so many bytes. */
static void note_splice(struct yaml_changes *changes, size_t at, size_t removed, size_t from)
{
    ASSERT(changes->splices_count < changes->splices_max);
    changes->splices[changes->splices_count] = (struct yaml_splice){
        at, removed, from, changes->pieces.length_bytes - from, changes->splices_count};
    changes->splices_count++;
}

/* Where a line can be put behind a node's content; *ret_needs_break: the text ends there, without a
 * line end. A block scalar ends where the next line begins. */
static size_t find_place_behind(const struct yaml_tree *tree, size_t node, bool *ret_needs_break)
{
    size_t leaf = yaml_last_leaf(tree, node);
    size_t at = tree->nodes[leaf].end;
    if (!tree->nodes[leaf].is_block_scalar || yaml_line_start(tree, at) != at)
        at = yaml_next_line(tree, at);
    *ret_needs_break = at == tree->bytes_count && yaml_line_start(tree, at) != at;
    return at;
}

/* Comments that are indented deeper than the list's dashes belong to its last item. */
static size_t skip_comments(const struct yaml_tree *tree, size_t at, size_t column,
                            bool *ret_needs_break)
{
    for (size_t line = at; line < tree->bytes_count;) {
        size_t text = line;
        while (text < tree->bytes_count && tree->bytes[text] == ' ')
            text++;
        bool is_blank = text < tree->bytes_count && yaml_break_bytes(tree, text) > 0;
        bool is_comment =
            text < tree->bytes_count && tree->bytes[text] == '#' && text - line > column;
        if (!is_blank && !is_comment)
            break;
        line = yaml_next_line(tree, text);
        at = is_comment ? line : at;
    }
    *ret_needs_break =
        *ret_needs_break || (at == tree->bytes_count && yaml_line_start(tree, at) != at);
    return at;
}

static size_t column_of(const struct yaml_tree *tree, size_t at)
{
    return at - yaml_line_start(tree, at);
}

static size_t bracket_of(const struct yaml_tree *tree, size_t node)
{
    const struct yaml_node *it = &tree->nodes[node];
    const char *found = memchr(tree->bytes + it->start, '[', it->end - it->start);
    return found != NULL ? (size_t)(found - tree->bytes) : it->start;
}

/* --- values and pairs --- */

enum status yaml_put_text(struct yaml_changes *changes, size_t value, const struct entry *entry,
                          enum entry_field field, struct err *err)
{
    const struct yaml_tree *tree = changes->tree;
    const struct yaml_node *it = &tree->nodes[value];
    size_t end = it->end;
    size_t from = changes->pieces.length_bytes;
    if (it->is_block_scalar) {
        size_t header_end = yaml_next_line(tree, it->start);
        if (memchr(tree->bytes + it->start, '#', header_end - it->start) != NULL)
            return ERR(err, STATUS_INVALID,
                       "line %zu: '%s' is a block of text with a comment, which replacing it would "
                       "lose; edit it by hand",
                       yaml_line_number(tree, it->start), entry_key(field));
        while (end > it->start && strchr(" \t\r\n", tree->bytes[end - 1]) != NULL)
            end--;
    }
    if (it->start == it->end && it->start > 0 && tree->bytes[it->start - 1] != ' ')
        buf_append_char(&changes->pieces, ' ');
    bool is_flow = it->parent != YAML_NONE && tree->nodes[it->parent].is_flow;
    entry_append_value(entry, field, (struct entry_style){it->quote, is_flow}, &changes->pieces);
    note_splice(changes, it->start, end - it->start, from);
    changes->of_node[value] =
        (struct yaml_change){.op = YAML_OP_SET, .entry = entry, .field = field};
    return STATUS_OK;
}

static void put_flow_pairs(struct yaml_changes *changes, size_t mapping, const struct entry *entry,
                           unsigned fields)
{
    const struct yaml_tree *tree = changes->tree;
    const struct yaml_node *it = &tree->nodes[mapping];
    char quote = tree->nodes[it->first_child].quote == '"' ? '"' : 0;
    for (enum entry_field field = 0; field < ENTRY_FIELDS_COUNT; field++) {
        if ((fields & (1U << field)) == 0)
            continue;
        buf_append_text(&changes->pieces, ", ");
        entry_append_text(entry_key(field), (struct entry_style){quote, true}, &changes->pieces);
        buf_append_text(&changes->pieces, ": ");
        entry_append_value(entry, field, (struct entry_style){quote, true}, &changes->pieces);
    }
}

void yaml_put_pairs(struct yaml_changes *changes, size_t mapping, const struct entry *entry,
                    unsigned fields)
{
    const struct yaml_tree *tree = changes->tree;
    const struct yaml_node *it = &tree->nodes[mapping];
    size_t from = changes->pieces.length_bytes;
    changes->of_node[mapping] =
        (struct yaml_change){.op = YAML_OP_PAIRS, .entry = entry, .fields = fields};
    if (it->is_flow) {
        put_flow_pairs(changes, mapping, entry, fields);
        note_splice(changes, tree->nodes[it->last_child].end, 0, from);
        return;
    }
    bool needs_break;
    size_t at = find_place_behind(tree, mapping, &needs_break);
    size_t column = column_of(tree, tree->nodes[it->first_child].start);
    buf_append_text(&changes->pieces, needs_break ? changes->line_end : "");
    for (enum entry_field field = 0; field < ENTRY_FIELDS_COUNT; field++) {
        if ((fields & (1U << field)) == 0)
            continue;
        buf_appendf(&changes->pieces, "%*s%s: ", (int)column, "", entry_key(field));
        entry_append_value(entry, field, (struct entry_style){0}, &changes->pieces);
        buf_append_text(&changes->pieces, changes->line_end);
    }
    note_splice(changes, at, 0, from);
}

/* --- tags --- */

static void put_flow_tags(struct yaml_changes *changes, size_t value, const struct entry *entry,
                          unsigned tags)
{
    const struct yaml_tree *tree = changes->tree;
    const struct yaml_node *it = &tree->nodes[value];
    size_t from = changes->pieces.length_bytes;
    bool is_empty = it->last_child == YAML_NONE;
    char quote = is_empty ? 0 : tree->nodes[it->last_child].quote;
    bool is_first = is_empty;
    for (size_t i = 0; i < entry->tags_count; i++) {
        if ((tags & (1U << i)) == 0)
            continue;
        buf_append_text(&changes->pieces, is_first ? "" : ", ");
        entry_append_text(entry->tags[i], (struct entry_style){quote, true}, &changes->pieces);
        is_first = false;
    }
    note_splice(changes, is_empty ? bracket_of(tree, value) + 1 : tree->nodes[it->last_child].end,
                0, from);
}

void yaml_put_tags(struct yaml_changes *changes, size_t value, const struct entry *entry,
                   unsigned tags)
{
    const struct yaml_tree *tree = changes->tree;
    const struct yaml_node *it = &tree->nodes[value];
    size_t from = changes->pieces.length_bytes;
    changes->of_node[value] =
        (struct yaml_change){.op = YAML_OP_TAGS, .entry = entry, .fields = tags};
    if (it->kind == YAML_SEQUENCE && it->is_flow) {
        put_flow_tags(changes, value, entry, tags);
    } else if (it->kind == YAML_SEQUENCE) {
        bool needs_break;
        size_t at = find_place_behind(tree, value, &needs_break);
        size_t column = column_of(tree, yaml_first_dash(tree, value));
        buf_append_text(&changes->pieces, needs_break ? changes->line_end : "");
        for (size_t i = 0; i < entry->tags_count; i++) {
            if ((tags & (1U << i)) == 0)
                continue;
            buf_appendf(&changes->pieces, "%*s- ", (int)column, "");
            entry_append_text(entry->tags[i], (struct entry_style){0}, &changes->pieces);
            buf_append_text(&changes->pieces, changes->line_end);
        }
        note_splice(changes, at, 0, from);
    } else { /* a null */
        if (it->start == it->end && it->start > 0 && tree->bytes[it->start - 1] != ' ')
            buf_append_char(&changes->pieces, ' ');
        entry_append_value(entry, ENTRY_TAGS, (struct entry_style){0}, &changes->pieces);
        note_splice(changes, it->start, it->end - it->start, from);
    }
}

/* --- entries --- */

static void put_block_entries(struct yaml_changes *changes, size_t at, size_t column,
                              bool needs_break)
{
    size_t from = changes->pieces.length_bytes;
    buf_append_text(&changes->pieces, needs_break ? changes->line_end : "");
    for (size_t i = 0; i < changes->added_count; i++)
        entry_append_block(changes->added[i], column, changes->line_end, &changes->pieces);
    note_splice(changes, at, 0, from);
}

/* Each on a line of its own where the last one is, else behind it. */
static void put_flow_entries(struct yaml_changes *changes)
{
    const struct yaml_tree *tree = changes->tree;
    const struct yaml_node *list = &tree->nodes[changes->list];
    size_t from = changes->pieces.length_bytes;
    size_t last = list->last_child;
    size_t start = last != YAML_NONE ? tree->nodes[last].start : 0;
    size_t column = last != YAML_NONE ? column_of(tree, start) : 0;
    bool is_own_line = last != YAML_NONE && column > 0;
    for (size_t i = start - column; is_own_line && i < start; i++)
        is_own_line = tree->bytes[i] == ' ';
    for (size_t i = 0; i < changes->added_count; i++) {
        if (last != YAML_NONE || i > 0)
            buf_append_text(&changes->pieces, is_own_line ? "," : ", ");
        if (is_own_line)
            buf_appendf(&changes->pieces, "%s%*s", changes->line_end, (int)column, "");
        entry_append_flow(changes->added[i], &changes->pieces);
    }
    note_splice(changes,
                last != YAML_NONE ? tree->nodes[last].end : bracket_of(tree, changes->list) + 1, 0,
                from);
}

/* The column of the list's key, and two more; a list that is the document has 0. */
static enum status find_new_column(const struct yaml_changes *changes, size_t *ret_column,
                                   struct err *err)
{
    const struct yaml_tree *tree = changes->tree;
    size_t parent = tree->nodes[changes->list].parent;
    *ret_column = 0;
    if (parent == YAML_NONE)
        return STATUS_OK;
    if (tree->nodes[parent].kind != YAML_MAPPING || tree->nodes[parent].is_flow)
        return ERR(err, STATUS_INVALID,
                   "line %zu: the list is empty inside of brackets; write it as a list first",
                   yaml_line_number(tree, tree->nodes[changes->list].start));
    size_t key = tree->nodes[parent].first_child;
    while (tree->nodes[key].next != changes->list)
        key = tree->nodes[tree->nodes[key].next].next;
    *ret_column = column_of(tree, tree->nodes[key].start) + 2;
    return STATUS_OK;
}

/* [] or null makes room for the lines below its key. */
static enum status put_first_entries(struct yaml_changes *changes, size_t begin, struct err *err)
{
    const struct yaml_tree *tree = changes->tree;
    const struct yaml_node *list = &tree->nodes[changes->list];
    size_t column;
    enum status status = find_new_column(changes, &column, err);
    if (status != STATUS_OK)
        return status;
    size_t at = yaml_next_line(tree, list->end);
    bool needs_break = at == tree->bytes_count && yaml_line_start(tree, at) != at;
    bool is_line_left = list->end == tree->bytes_count || yaml_break_bytes(tree, list->end) > 0;
    bool is_whole_line = begin == yaml_line_start(tree, begin);
    if (is_whole_line && is_line_left)
        at = list->end + yaml_break_bytes(tree, list->end);
    while (is_line_left && !is_whole_line && begin > 0 && tree->bytes[begin - 1] == ' ')
        begin--;
    size_t end = is_whole_line && is_line_left ? at : list->end;
    needs_break = needs_break && !(is_whole_line && is_line_left);
    if (end > begin)
        note_splice(changes, begin, end - begin, changes->pieces.length_bytes);
    put_block_entries(changes, at, column, needs_break);
    return STATUS_OK;
}

static bool holds_only_spaces(const struct yaml_tree *tree, size_t from, size_t to)
{
    while (from < to && tree->bytes[from] == ' ')
        from++;
    return from == to;
}

enum status yaml_put_entries(struct yaml_changes *changes, struct err *err)
{
    const struct yaml_tree *tree = changes->tree;
    bool needs_break;
    if (changes->added_count == 0)
        return STATUS_OK;
    if (changes->list == YAML_NONE) {
        size_t end = tree->bytes_count;
        put_block_entries(changes, end, 0,
                          end > tree->mark_bytes && yaml_line_start(tree, end) != end);
        return STATUS_OK;
    }
    const struct yaml_node *list = &tree->nodes[changes->list];
    changes->of_node[changes->list] = (struct yaml_change){.op = YAML_OP_ENTRIES};
    if (list->kind == YAML_SCALAR)
        return put_first_entries(changes, list->start, err);
    if (!list->is_flow) {
        size_t column = column_of(tree, yaml_first_dash(tree, changes->list));
        size_t at = find_place_behind(tree, changes->list, &needs_break);
        at = skip_comments(tree, at, column, &needs_break);
        put_block_entries(changes, at, column, needs_break);
        return STATUS_OK;
    }
    size_t bracket = bracket_of(tree, changes->list);
    bool is_inside_flow = list->parent != YAML_NONE && tree->nodes[list->parent].is_flow;
    if (list->first_child == YAML_NONE && !is_inside_flow &&
        holds_only_spaces(tree, bracket + 1, list->end - 1))
        return put_first_entries(changes, bracket, err);
    put_flow_entries(changes);
    return STATUS_OK;
}

/* --- the whole --- */

static int compare_splices(const void *a, const void *b)
{
    const struct yaml_splice *one = a;
    const struct yaml_splice *other = b;
    if (one->at != other->at)
        return one->at < other->at ? -1 : 1;
    return one->number < other->number ? -1 : 1;
}

void yaml_apply(struct yaml_changes *changes, struct buf *out)
{
    const struct yaml_tree *tree = changes->tree;
    size_t done = 0;
    qsort(changes->splices, changes->splices_count, sizeof(*changes->splices), compare_splices);
    for (size_t i = 0; i < changes->splices_count; i++) {
        const struct yaml_splice *it = &changes->splices[i];
        ASSERT(it->at >= done);
        buf_append(out, tree->bytes + done, it->at - done);
        buf_append(out, changes->pieces.data + it->text, it->text_bytes);
        done = it->at + it->removed;
    }
    buf_append(out, tree->bytes + done, tree->bytes_count - done);
    if (changes->pieces.failed)
        out->failed = true;
}
