#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/nearest.h"
#include "base/num.h"
#include "cli/command.h"
#include "registry/bridge.h"
#include "registry/merge.h"
#include "registry/yaml_file.h"

#define DIFF_BYTES_MAX ((size_t)256 << 20)

/* Texts are borrowed: from the command line. */
struct registry_options {
    const char *into;
    struct option_picks includes;
    bool is_dry;
    const char *key, *id_template, *name_template, *source_template;
    struct option_texts metrics, modes, engines, tags;
    bool writes_value;
};

static const struct option_choice include_choices[] = {
#define X(name, word) {(word), ADMIT_##name},
    ADMIT_MAP(X)
#undef X
        {NULL, 0}};

#define BRIDGE_GROUP "Entries of bridge"

static const struct option registry_rows[] = {
    {.name = "into",
     .type = OPTION_TEXT,
     .offset = offsetof(struct registry_options, into),
     .arg = "FILE",
     .max = FILE_PATH_BYTES - 1,
     .group = "Registry",
     .help = "the registry that is added to; made where there is none"},
    {.name = "include",
     .type = OPTION_CHOICES,
     .offset = offsetof(struct registry_options, includes),
     .arg = "KIND",
     .choices = include_choices,
     .group = "Registry",
     .help = "also records of these kinds, which stay out otherwise"},
    {.name = "dry-run",
     .type = OPTION_FLAG,
     .offset = offsetof(struct registry_options, is_dry),
     .group = "Registry",
     .help = "only show what would be done"},
    {.name = "metric",
     .type = OPTION_WORDS,
     .offset = offsetof(struct registry_options, metrics),
     .arg = "FIELD",
     .max = ENTRY_TEXT_MAX,
     .group = BRIDGE_GROUP,
     .help = "fields of records, or all; tokens_per_sec without it"},
    {.name = "mode",
     .type = OPTION_WORDS,
     .offset = offsetof(struct registry_options, modes),
     .arg = "MODE",
     .max = ENTRY_TEXT_MAX,
     .group = BRIDGE_GROUP,
     .help = "only these modes; train without results"},
    {.name = "engine",
     .type = OPTION_WORDS,
     .offset = offsetof(struct registry_options, engines),
     .arg = "NAME",
     .max = ENTRY_TEXT_MAX,
     .group = BRIDGE_GROUP,
     .help = "only these engines; pytorch without results"},
    {.name = "id-template",
     .type = OPTION_TEXT,
     .offset = offsetof(struct registry_options, id_template),
     .arg = "TEXT",
     .max = ENTRY_TEXT_MAX,
     .group = BRIDGE_GROUP,
     .help = "the id; without it " BRIDGE_ID_TEMPLATE},
    {.name = "name-template",
     .type = OPTION_TEXT,
     .offset = offsetof(struct registry_options, name_template),
     .arg = "TEXT",
     .max = ENTRY_TEXT_MAX,
     .group = BRIDGE_GROUP,
     .help = "the name; without it " BRIDGE_NAME_TEMPLATE},
    {.name = "source-template",
     .type = OPTION_TEXT,
     .offset = offsetof(struct registry_options, source_template),
     .arg = "TEXT",
     .max = ENTRY_TEXT_MAX,
     .group = BRIDGE_GROUP,
     .help = "the source; without it the published script of the engine"},
    {.name = "tags",
     .type = OPTION_WORDS,
     .offset = offsetof(struct registry_options, tags),
     .arg = "TAG",
     .max = ENTRY_TEXT_MAX,
     .group = BRIDGE_GROUP,
     .help = "the tags; without it fuzzy-parakeet v24.x {engine}"},
    {.name = "value",
     .type = OPTION_FLAG,
     .offset = offsetof(struct registry_options, writes_value),
     .group = BRIDGE_GROUP,
     .help = "also the newest result: value, unit, measured_at, run_id, cell_id"},
    {.name = "key",
     .type = OPTION_TEXT,
     .offset = offsetof(struct registry_options, key),
     .arg = "PATH",
     .max = ENTRY_TEXT_MAX,
     .group = BRIDGE_GROUP,
     .help = "where the list is, as keys with dots between; found where there is one"},
    COMMAND_HELP_ROW,
};

static const char *const actions[] = {"merge", "bridge"};

static const char *action_at(unsigned index)
{
    return index < ARRAY_COUNT(actions) ? actions[index] : NULL;
}

static void read_includes(const struct registry_options *options, bool includes[ADMIT_KINDS_COUNT])
{
    for (size_t i = 0; i < options->includes.count; i++)
        includes[options->includes.values[i]] = true;
}

static enum exit_code exit_code_of(enum status status)
{
    return status == STATUS_INVALID ? EXIT_CODE_USAGE : EXIT_CODE_IO;
}

/* --- merge --- */

static void append_left_out(const uint64_t left_out[ADMIT_KINDS_COUNT], struct buf *out)
{
    for (enum admit_kind kind = 0; kind < ADMIT_KINDS_COUNT; kind++)
        if (left_out[kind] > 0)
            buf_appendf(out, "; %" PRIu64 " stayed out: %s (--include %s)", left_out[kind],
                        admit_word(kind), admit_word(kind));
}

static enum exit_code tell_merge(const struct invocation *call,
                                 const struct registry_options *options,
                                 const struct merge_counts *counts)
{
    struct buf out;
    buf_init(&out, OPTION_VALUE_BYTES * 2);
    uint64_t records = counts->added + counts->known;
    buf_appendf(&out, "%s: %" PRIu64 " record%s %sadded, %" PRIu64 " already there", options->into,
                counts->added, num_plural(counts->added), options->is_dry ? "would be " : "",
                counts->known);
    append_left_out(counts->left_out, &out);
    buf_append_char(&out, '\n');
    for (enum admit_kind kind = 0; kind < ADMIT_KINDS_COUNT; kind++)
        records += counts->left_out[kind];
    enum exit_code code = command_print(call, &out);
    command_complain_of_notes(call, &counts->notes);
    return code == EXIT_CODE_OK && records == 0 && counts->notes.count > 0 ? EXIT_CODE_NOTHING
                                                                           : code;
}

static enum exit_code run_merge(const struct invocation *call,
                                const struct registry_options *options,
                                const struct options_seen *seen)
{
    struct err err = {0};
    struct merge *merge = NULL;
    bool includes[ADMIT_KINDS_COUNT] = {false};
    read_includes(options, includes);
    enum status status = merge_open(options->into, includes, options->is_dry, &merge, &err);
    for (size_t i = 1; status == STATUS_OK && i < seen->operands_count; i++)
        status = merge_add(merge, seen->operands[i], &err);
    if (status == STATUS_OK)
        status = merge_commit(merge, &err);
    enum exit_code code = EXIT_CODE_OK;
    if (status == STATUS_OK) {
        code = tell_merge(call, options, merge_counts(merge));
    } else {
        command_complain(call, "%s", err.text);
        code = exit_code_of(status);
    }
    merge_close(merge);
    return code;
}

/* --- bridge --- */

static enum exit_code tell_bridge(const struct invocation *call,
                                  const struct registry_options *options, size_t operands_count,
                                  const struct bridge_counts *counts,
                                  const struct yaml_edit_counts *edits, const struct buf *diff)
{
    struct buf out;
    buf_init(&out, DIFF_BYTES_MAX);
    if (options->is_dry)
        buf_append(&out, diff->data, diff->length_bytes);
    buf_appendf(&out, "%s: %zu entr%s %sadded, %zu updated, %zu already there", options->into,
                edits->added, edits->added == 1 ? "y" : "ies", options->is_dry ? "would be " : "",
                edits->updated, edits->unchanged);
    append_left_out(counts->left_out, &out);
    buf_append_char(&out, '\n');
    enum exit_code code = command_print(call, &out);
    command_complain_of_notes(call, &counts->notes);
    if (counts->mixed > 0)
        command_complain(call,
                         "the value of '%s'%s is the newest one of several cells; name cells "
                         "apart: --id-template '%s_{precision}_s{seq_len}_b{batch_size}'",
                         counts->first_mixed, counts->mixed > 1 ? " and of others" : "",
                         BRIDGE_ID_TEMPLATE);
    bool is_nothing = operands_count > 1 && counts->records == 0;
    return code == EXIT_CODE_OK && is_nothing && counts->notes.count > 0 ? EXIT_CODE_NOTHING : code;
}

static enum status bridge_sources(struct bridge *bridge, const struct options_seen *seen,
                                  struct err *err)
{
    if (seen->operands_count == 1)
        return bridge_add_plain(bridge, err);
    enum status status = STATUS_OK;
    for (size_t i = 1; status == STATUS_OK && i < seen->operands_count; i++)
        status = bridge_add(bridge, seen->operands[i], err);
    return status;
}

static enum exit_code run_bridge(const struct invocation *call,
                                 const struct registry_options *options,
                                 const struct options_seen *seen)
{
    struct bridge_options wanted = {
        .id_template = options->id_template,
        .name_template = options->name_template,
        .source_template = options->source_template,
        .tags = options->tags.items,
        .tags_count = options->tags.count,
        .metrics = options->metrics.items,
        .metrics_count = options->metrics.count,
        .modes = options->modes.items,
        .modes_count = options->modes.count,
        .engines = options->engines.items,
        .engines_count = options->engines.count,
        .writes_value = options->writes_value,
    };
    struct err err = {0};
    struct bridge *bridge = NULL;
    struct yaml_edit_counts edits = {0};
    struct buf diff;
    size_t count = 0;
    read_includes(options, wanted.includes);
    buf_init(&diff, DIFF_BYTES_MAX);
    enum status status = bridge_new(&wanted, &bridge, &err);
    if (status == STATUS_OK)
        status = bridge_sources(bridge, seen, &err);
    const struct entry *entries = status == STATUS_OK ? bridge_entries(bridge, &count) : NULL;
    if (count > 0)
        status = yaml_file_edit(options->into, options->key, entries, count, options->is_dry, &diff,
                                &edits, &err);
    enum exit_code code = EXIT_CODE_OK;
    if (status == STATUS_OK) {
        code =
            tell_bridge(call, options, seen->operands_count, bridge_counts(bridge), &edits, &diff);
    } else {
        command_complain(call, "%s", err.text);
        code = exit_code_of(status);
    }
    buf_release(&diff);
    bridge_free(bridge);
    return code;
}

/* --- the command --- */

/* A flag of bridge that merge would not heed; NULL: there is none. */
static const char *find_bridge_flag(const struct options_seen *seen)
{
    for (size_t i = 0; i < ARRAY_COUNT(registry_rows); i++)
        if (seen->is_given[i] && strcmp(registry_rows[i].group, BRIDGE_GROUP) == 0)
            return registry_rows[i].name;
    return NULL;
}

static bool check_words(const struct invocation *call, const struct registry_options *options,
                        const struct options_seen *seen)
{
    struct nearest_hint hint;
    const char *action = seen->operands[0];
    bool is_known = false;
    for (size_t i = 0; i < ARRAY_COUNT(actions); i++)
        is_known |= strcmp(actions[i], action) == 0;
    if (!is_known)
        command_complain(call, "no action is named '%.80s'; %s", action,
                         nearest_hint(&hint, "", action, actions, ARRAY_COUNT(actions)));
    else if (options->into == NULL || options->into[0] == '\0')
        command_complain(call, "%s needs --into FILE, the registry that is added to", action);
    else if (strcmp(options->into, "-") == 0)
        command_complain(call, "--into - is no file; name one, or ./- for a file of that name");
    else if (strcmp(action, "merge") == 0 && seen->operands_count < 2)
        command_complain(call, "merge needs what is to be merged: a results folder, a file, an "
                               "archive, or - for standard input");
    else if (strcmp(action, "merge") == 0 && find_bridge_flag(seen) != NULL)
        command_complain(call, "--%s is for bridge; merge adds records as they are",
                         find_bridge_flag(seen));
    else if (options->writes_value && seen->operands_count < 2)
        command_complain(call, "--value needs results: a folder, a file, an archive, or -");
    else
        return true;
    return false;
}

static enum exit_code run_registry(const struct invocation *call)
{
    struct registry_options options = {0};
    struct options_seen seen = {0};
    enum exit_code code = EXIT_CODE_USAGE;
    if (!command_parse(call, &options, &seen, &code))
        return code;
    if (!check_words(call, &options, &seen))
        return EXIT_CODE_USAGE;
    return strcmp(seen.operands[0], "merge") == 0 ? run_merge(call, &options, &seen)
                                                  : run_bridge(call, &options, &seen);
}

const struct command command_registry = {
    .name = "registry",
    .operands = "merge|bridge [DIR|FILE|-]",
    .operands_min = 1,
    .operands_max = OPTION_TEXTS_MAX,
    .summary = "Adds results to a registry of metrics.",
    .description =
        "`merge` appends records of results folders, JSONL or CSV files, archives or standard "
        "input to a registry of JSON lines. A record that is there already is not added again, "
        "lines of other programs stay as they are, and where there is nothing to add the file is "
        "not touched. Several merges may run at once.\n\n`bridge` adds an entry for each metric to "
        "a registry in YAML, or updates the one with its id; the rest of the file stays byte for "
        "byte. Without results it is the entry of training tokens/s of pytorch.\n\nThe file is "
        "replaced whole or not at all. Records of the sandbox, and those that are invalid or "
        "unsteady, stay out unless --include names them (docs/registry.md).",
    .examples = "merge --into metrics.jsonl _bench\n"
                "merge --into all.jsonl _bench.zip --include unsteady\n"
                "bridge --into metrics.yaml\n"
                "bridge _bench --into all.yaml --value --metric ms_p50",
    .options = registry_rows,
    .options_count = ARRAY_COUNT(registry_rows),
    .operand_at = action_at,
    .run = run_registry,
};
