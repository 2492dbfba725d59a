#include "registry/yaml_edit.h"

#include <math.h>
#include <string.h>

#include "base/num.h"
#include "registry/yaml_change.h"
#include "registry/yaml_list.h"

_Static_assert(ENTRY_FIELDS_COUNT <= 32 && ENTRY_TAGS_MAX <= 32, "bits of yaml_change.fields");

/* One entry that is there already. Borrowed for the call. */
struct meeting {
    struct yaml_changes *changes;
    const struct entry *entry;
    size_t item;    /* as the list has it */
    size_t mapping; /* what that stands for */
    bool is_changed;
    bool is_older; /* than the result that is there */
};

static enum status refuse_shared(const struct meeting *meeting, size_t node, struct err *err)
{
    const struct yaml_tree *tree = meeting->changes->tree;
    return ERR(err, STATUS_INVALID,
               "line %zu: '%.200s' is used elsewhere by an alias (*), so changing it would change "
               "that too; edit it by hand",
               yaml_line_number(tree, tree->nodes[node].start), meeting->entry->texts[ENTRY_ID]);
}

/* A change is to be made to the entry, or to the value of its own. */
static enum status begin_change(struct meeting *meeting, size_t node, struct err *err)
{
    const struct yaml_tree *tree = meeting->changes->tree;
    meeting->is_changed = true;
    if (tree->nodes[meeting->item].kind == YAML_ALIAS || yaml_is_shared(tree, node))
        return refuse_shared(meeting, meeting->item, err);
    return STATUS_OK;
}

static bool has_value(const struct meeting *meeting, size_t value, enum entry_field field)
{
    const struct yaml_tree *tree = meeting->changes->tree;
    const char *wanted = meeting->entry->texts[field];
    value = yaml_resolve(tree, value);
    if (value == YAML_NONE)
        return false;
    double there = NAN;
    double number = NAN;
    bool is_number =
        field == ENTRY_VALUE && tree->nodes[value].is_plain &&
        num_parse_double(yaml_text(tree, value), -HUGE_VAL, HUGE_VAL, &there, NULL) == STATUS_OK &&
        num_parse_double(wanted, -HUGE_VAL, HUGE_VAL, &number, NULL) == STATUS_OK;
    return is_number ? there == number : yaml_has_text(tree, value, wanted);
}

static enum status change_value(struct meeting *meeting, size_t value, enum entry_field field,
                                struct err *err)
{
    const struct yaml_tree *tree = meeting->changes->tree;
    const struct yaml_node *it = &tree->nodes[value];
    size_t line = yaml_line_number(tree, it->start);
    if (has_value(meeting, value, field))
        return STATUS_OK;
    enum status status = begin_change(meeting, value, err);
    if (status != STATUS_OK)
        return status;
    if (it->kind != YAML_SCALAR && it->kind != YAML_ALIAS)
        return ERR(err, STATUS_INVALID, "line %zu: '%s' of '%.200s' is no text; edit it by hand",
                   line, entry_key(field), meeting->entry->texts[ENTRY_ID]);
    if (it->tag != YAML_NONE || it->anchor != YAML_NONE)
        return ERR(err, STATUS_INVALID,
                   "line %zu: '%s' of '%.200s' has an anchor or a tag; edit it by hand", line,
                   entry_key(field), meeting->entry->texts[ENTRY_ID]);
    return yaml_put_text(meeting->changes, value, meeting->entry, field, err);
}

static unsigned find_missing_tags(const struct meeting *meeting, size_t list)
{
    const struct yaml_tree *tree = meeting->changes->tree;
    unsigned missing = 0;
    for (size_t i = 0; i < meeting->entry->tags_count; i++) {
        bool is_there = false;
        size_t at = list != YAML_NONE ? tree->nodes[list].first_child : YAML_NONE;
        for (; at != YAML_NONE && !is_there; at = tree->nodes[at].next) {
            size_t tag = yaml_resolve(tree, at);
            is_there = tag != YAML_NONE && yaml_has_text(tree, tag, meeting->entry->tags[i]);
        }
        missing |= is_there ? 0 : 1U << i;
    }
    return missing;
}

static enum status change_tags(struct meeting *meeting, size_t value, struct err *err)
{
    const struct yaml_tree *tree = meeting->changes->tree;
    size_t list = yaml_resolve(tree, value);
    bool is_list = list != YAML_NONE && tree->nodes[list].kind == YAML_SEQUENCE;
    bool is_null = list != YAML_NONE && yaml_is_null(tree, list);
    if (!is_list && !is_null)
        return ERR(err, STATUS_INVALID, "line %zu: 'tags' of '%.200s' is no list; edit it by hand",
                   yaml_line_number(tree, tree->nodes[value].start),
                   meeting->entry->texts[ENTRY_ID]);
    unsigned missing = find_missing_tags(meeting, is_list ? list : YAML_NONE);
    if (missing == 0)
        return STATUS_OK;
    enum status status = begin_change(meeting, value, err);
    if (status == STATUS_OK && tree->nodes[value].kind == YAML_ALIAS)
        status = refuse_shared(meeting, value, err);
    if (status == STATUS_OK)
        yaml_put_tags(meeting->changes, value, meeting->entry, missing);
    return status;
}

/* ISO 8601 in UTC sorts as text. */
static bool is_older(const struct meeting *meeting)
{
    const struct yaml_tree *tree = meeting->changes->tree;
    const char *ours = meeting->entry->texts[ENTRY_MEASURED_AT];
    size_t count;
    size_t value = yaml_find_key(tree, meeting->mapping, entry_key(ENTRY_MEASURED_AT), &count);
    value = value != YAML_NONE ? yaml_resolve(tree, value) : YAML_NONE;
    return value != YAML_NONE && tree->nodes[value].kind == YAML_SCALAR && ours != NULL &&
           strcmp(yaml_text(tree, value), ours) > 0;
}

static enum status update(struct meeting *meeting, struct err *err)
{
    const struct yaml_tree *tree = meeting->changes->tree;
    unsigned missing = 0;
    enum status status = STATUS_OK;
    meeting->is_older = is_older(meeting);
    for (enum entry_field field = ENTRY_NAME; status == STATUS_OK && field < ENTRY_FIELDS_COUNT;
         field++) {
        size_t count;
        if (!entry_has(meeting->entry, field) || (field >= ENTRY_VALUE && meeting->is_older))
            continue;
        size_t value = yaml_find_key(tree, meeting->mapping, entry_key(field), &count);
        if (count > 1)
            return ERR(err, STATUS_INVALID, "line %zu: '%.200s' has the key '%s' %zu times",
                       yaml_line_number(tree, tree->nodes[meeting->mapping].start),
                       meeting->entry->texts[ENTRY_ID], entry_key(field), count);
        if (count == 0)
            missing |= 1U << field;
        else if (field == ENTRY_TAGS)
            status = change_tags(meeting, value, err);
        else
            status = change_value(meeting, value, field, err);
    }
    if (status != STATUS_OK || missing == 0)
        return status;
    status = begin_change(meeting, meeting->mapping, err);
    if (status == STATUS_OK)
        yaml_put_pairs(meeting->changes, meeting->mapping, meeting->entry, missing);
    return status;
}

/* The item with the entry's id; YAML_NONE: there is none. */
static enum status find_item(const struct yaml_changes *changes, const struct entry *entry,
                             size_t *ret_item, struct err *err)
{
    const struct yaml_tree *tree = changes->tree;
    size_t found = YAML_NONE;
    size_t at = changes->list != YAML_NONE ? tree->nodes[changes->list].first_child : YAML_NONE;
    for (; at != YAML_NONE; at = tree->nodes[at].next) {
        const char *id = yaml_list_id(tree, at);
        if (id == NULL || strcmp(id, entry->texts[ENTRY_ID]) != 0)
            continue;
        if (found != YAML_NONE)
            return ERR(err, STATUS_INVALID,
                       "lines %zu and %zu: two entries have the id '%.200s'; which one is meant?",
                       yaml_line_number(tree, tree->nodes[found].start),
                       yaml_line_number(tree, tree->nodes[at].start), id);
        found = at;
    }
    *ret_item = found;
    return STATUS_OK;
}

static enum status decide(struct yaml_changes *changes, const struct entry *entries,
                          size_t entries_count, struct yaml_edit_counts *counts, struct err *err)
{
    for (size_t i = 0; i < entries_count; i++) {
        size_t item;
        enum status status = find_item(changes, &entries[i], &item, err);
        if (status != STATUS_OK)
            return status;
        if (item == YAML_NONE) {
            changes->added[changes->added_count++] = &entries[i];
            counts->added++;
            continue;
        }
        struct meeting meeting = {.changes = changes,
                                  .entry = &entries[i],
                                  .item = item,
                                  .mapping = yaml_resolve(changes->tree, item)};
        status = update(&meeting, err);
        if (status != STATUS_OK)
            return status;
        counts->updated += meeting.is_changed;
        counts->unchanged += !meeting.is_changed;
    }
    if (changes->added_count > 0 && changes->list != YAML_NONE &&
        yaml_is_shared(changes->tree, changes->list))
        return ERR(err, STATUS_INVALID,
                   "line %zu: the list is used elsewhere by an alias (*), so adding to it would "
                   "add there too; edit it by hand",
                   yaml_line_number(changes->tree, changes->tree->nodes[changes->list].start));
    return yaml_put_entries(changes, err);
}

/* What came out, read as a stranger would. */
static enum status check(const struct yaml_changes *changes, const struct buf *text,
                         struct err *err)
{
    struct yaml_tree after = {0};
    bool is_right = yaml_parse(text->data, text->length_bytes, &after, NULL) == STATUS_OK &&
                    yaml_verify(changes, &after);
    yaml_release(&after);
    if (is_right)
        return STATUS_OK;
    return ERR(err, STATUS_INVALID,
               "the change cannot be made without changing what is there (does it end inside of a "
               "block of text without a line end, or is it indented unusually?); make it by hand");
}

enum status yaml_edit(const char *text, size_t text_bytes, const char *key,
                      const struct entry *entries, size_t entries_count, struct buf *ret_text,
                      struct yaml_edit_counts *ret_counts, struct err *err)
{
    struct yaml_tree tree CLEANUP(yaml_release) = {0};
    struct yaml_changes changes CLEANUP(yaml_changes_release) = {0};
    struct yaml_edit_counts counts = {0};
    TRY(yaml_parse(text, text_bytes, &tree, err));
    TRY(yaml_changes_init(&tree, entries_count, &changes, err));
    TRY(yaml_list_find(&tree, key, &changes.list, err));
    TRY(decide(&changes, entries, entries_count, &counts, err));
    yaml_apply(&changes, ret_text);
    if (ret_text->failed)
        return ERR(err, STATUS_NOMEM, "no memory for the new text");
    if (changes.splices_count > 0)
        TRY(check(&changes, ret_text, err));
    *ret_counts = counts;
    return STATUS_OK;
}
