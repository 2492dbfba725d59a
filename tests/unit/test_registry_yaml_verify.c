/* The check behind an edit: texts that came out otherwise than they should. No edit of ours makes
 * them, so they are written here. */
#include <criterion/criterion.h>
#include <string.h>

#include "registry/yaml_change.h"

/* What is changed of `before`: where the keys lead to, from the first entry of the list. */
struct edit {
    const char *before;
    const char *key; /* whose value; NULL: the entry itself, or the list with YAML_OP_ENTRIES */
    struct yaml_change change;
};

static struct entry entry = {
    .texts =
        {[ENTRY_ID] = (char[]){"q"}, [ENTRY_NAME] = (char[]){"n"}, [ENTRY_VALUE] = (char[]){"3"}},
    .tags = {(char[]){"a"}, (char[]){"b"}},
    .tags_count = 2,
};

static size_t place_of(const struct yaml_tree *tree, const struct edit *edit)
{
    size_t count = 0;
    size_t list = tree->first_root;
    if (edit->change.op == YAML_OP_ENTRIES)
        return list;
    size_t first = tree->nodes[list].first_child;
    return edit->key == NULL ? first : yaml_find_key(tree, first, edit->key, &count);
}

static bool is_taken(const struct edit *edit, const char *after)
{
    struct yaml_tree old = {0};
    struct yaml_tree new = {0};
    struct yaml_changes changes;
    struct err err = {0};
    cr_assert_eq(yaml_parse(edit->before, strlen(edit->before), &old, &err), STATUS_OK, "%s",
                 err.text);
    cr_assert_eq(yaml_parse(after, strlen(after), &new, &err), STATUS_OK, "%s: %s", after,
                 err.text);
    cr_assert_eq(yaml_changes_init(&old, 1, &changes, &err), STATUS_OK, "%s", err.text);
    if (edit->change.op == YAML_OP_ENTRIES)
        changes.added[changes.added_count++] = &entry;
    if (old.first_root != YAML_NONE) {
        size_t place = place_of(&old, edit);
        cr_assert_neq(place, YAML_NONE);
        changes.of_node[place] = edit->change;
    }
    bool taken = yaml_verify(&changes, &new);
    yaml_changes_release(&changes);
    yaml_release(&old);
    yaml_release(&new);
    return taken;
}

/* The first text is what should come out, the others, up to NULL, should not. */
static void check(const struct edit *edit, const char *const *texts)
{
    cr_expect(is_taken(edit, texts[0]), "%s", texts[0]);
    for (size_t i = 1; texts[i] != NULL; i++)
        cr_expect_not(is_taken(edit, texts[i]), "%s", texts[i]);
}

Test(registry_yaml_verify, a_value_is_set_and_nothing_else)
{
    const struct edit edit = {"- id: q\n  name: x\n", "name", {YAML_OP_SET, &entry, ENTRY_NAME, 0}};
    static const char *const texts[] = {
        "- id: q\n  name: 'n'\n",
        "- id: q\n  name: m\n",
        "- id: q\n  name: x\n",
        "- id: q\n  name: [n]\n",
        "- id: q\n  name: !!str n\n",
        "- id: q\n  name: &n n\n",
        "- id: r\n  name: n\n",
        "- id: 'q'\n  name: n\n",
        "- id: !!str q\n  name: n\n",
        "- id: &q q\n  name: n\n",
        "- id: q\n  nam: n\n",
        "- id: q\n",
        "- id: q\n  name: n\n  unit: s\n",
        "- id: q\n  name: n\n- id: r\n",
        "- [id, q, name, n]\n",
        "- id: q\n  name: n\n---\n",
        "---\n---\n- id: q\n  name: n\n",
        "",
        NULL,
    };
    check(&edit, texts);
}

Test(registry_yaml_verify, a_value_that_is_a_number_stays_one)
{
    const struct edit edit = {
        "- id: q\n  value: 2\n", "value", {YAML_OP_SET, &entry, ENTRY_VALUE, 0}};
    static const char *const texts[] = {"- id: q\n  value: 3\n", "- id: q\n  value: '3'\n",
                                        "- id: q\n  value: 3.0\n", NULL};
    check(&edit, texts);
}

Test(registry_yaml_verify, an_entry_gets_those_fields)
{
    const struct edit edit = {
        "- id: q\n",
        NULL,
        {YAML_OP_PAIRS, &entry, 0, 1U << ENTRY_NAME | 1U << ENTRY_TAGS | 1U << ENTRY_VALUE}};
    static const char *const texts[] = {
        "- id: q\n  name: n\n  tags: [a, b]\n  value: 3\n",
        "- id: q\n  name: n\n  tags: [a, b]\n  value: '3'\n",
        "- id: q\n  name: n\n  tags: [a, b]\n",
        "- id: q\n  name: n\n  value: 3\n  tags: [a, b]\n",
        "- id: q\n  name: m\n  tags: [a, b]\n  value: 3\n",
        "- id: q\n  name: n\n  tags: [a]\n  value: 3\n",
        "- id: q\n  name: n\n  tags: [b, a]\n  value: 3\n",
        "- id: q\n  name: n\n  tags: [a, b, c]\n  value: 3\n",
        "- id: q\n  name: n\n  tags: [a, !t b]\n  value: 3\n",
        "- id: q\n  name: n\n  tags: !t [a, b]\n  value: 3\n",
        "- id: q\n  name: n\n  tags: {a: b}\n  value: 3\n",
        "- id: q\n  name: n\n  tags: a\n  value: 3\n",
        "- id: q\n  ? &k name\n  : n\n  tags: [a, b]\n  value: 3\n",
        "- id: q\n  name: n\n  tags: [a, b]\n  value: 3\n  unit: s\n",
        NULL,
    };
    check(&edit, texts);
}

Test(registry_yaml_verify, a_list_of_tags_gets_those_that_it_lacks)
{
    const struct edit edit = {"- tags: [a]\n", "tags", {YAML_OP_TAGS, &entry, 0, 1U << 1}};
    static const char *const texts[] = {
        "- tags: [a, b]\n", "- tags: [a]\n",    "- tags: [b]\n",       "- tags: [a, b, c]\n",
        "- tags: b\n",      "- tags: [a, c]\n", "- tags: [a, &t b]\n", NULL};
    check(&edit, texts);
    const struct edit of_null = {"- tags: &t\n", "tags", {YAML_OP_TAGS, &entry, 0, 3}};
    static const char *const lists[] = {
        "- tags: &t [a, b]\n", "- tags: [a, b]\n", "- tags: &u [a, b]\n", "- tags: &t !l [a, b]\n",
        "- tags: &t [b]\n",    "- tags: &t\n",     "- tags: &t {a: b}\n", NULL};
    check(&of_null, lists);
}

Test(registry_yaml_verify, a_list_gets_whole_entries_and_no_others)
{
    const struct edit edit = {"- id: r\n", NULL, {YAML_OP_ENTRIES, NULL, 0, 0}};
    static const char *const texts[] = {
        "- id: r\n- id: q\n  name: n\n  tags: [a, b]\n  value: 3\n",
        "- id: r\n- id: q\n  name: n\n  tags: [a, b]\n",
        "- id: r\n- &e {id: q, name: n, tags: [a, b], value: 3}\n",
        "- id: r\n- !e {id: q, name: n, tags: [a, b], value: 3}\n",
        "- id: r\n- [id, q, name, n, tags, [a, b], value, 3]\n",
        "- id: r\n- id: q\n  name: n\n  tags: [a, b]\n  value: 3\n- id: s\n",
        "- id: q\n  name: n\n  tags: [a, b]\n  value: 3\n- id: r\n",
        "- id: q\n  name: n\n  tags: [a, b]\n  value: 3\n",
        "- id: r\n",
        NULL,
    };
    check(&edit, texts);
}

Test(registry_yaml_verify, a_file_without_a_list_gets_one)
{
    const struct edit edit = {"# of metrics\n", NULL, {YAML_OP_ENTRIES, NULL, 0, 0}};
    static const char *const texts[] = {
        "- {id: q, name: n, tags: [a, b], value: 3}\n",
        "[[id, q, name, n, tags, [a, b], value, 3]]\n",
        "&l [{id: q, name: n, tags: [a, b], value: 3}]\n",
        "!l [{id: q, name: n, tags: [a, b], value: 3}]\n",
        "{id: q, name: n, tags: [a, b], value: 3}\n",
        "- {id: q, name: n, tags: [a, b], value: 3}\n- x\n",
        "- {id: q, name: n, tags: [a, b], value: 3}\n---\n",
        "[]\n",
        "# of metrics\n",
        NULL,
    };
    check(&edit, texts);
}
