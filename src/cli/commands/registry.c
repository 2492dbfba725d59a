#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/nearest.h"
#include "cli/command.h"
#include "registry/merge.h"

struct registry_options {
    const char *into;
    struct option_picks includes;
    bool is_dry;
};

static const struct option_choice include_choices[] = {
#define X(name, word) {(word), ADMIT_##name},
    ADMIT_MAP(X)
#undef X
        {NULL, 0}};

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
    COMMAND_HELP_ROW,
};

static const char *const actions[] = {"merge"};

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
                counts->added, counts->added == 1 ? "" : "s", options->is_dry ? "would be " : "",
                counts->known);
    append_left_out(counts->left_out, &out);
    buf_append_char(&out, '\n');
    for (enum admit_kind kind = 0; kind < ADMIT_KINDS_COUNT; kind++)
        records += counts->left_out[kind];
    enum exit_code code = command_print(call, &out);
    if (counts->notes > 0)
        command_complain(call, "%" PRIu64 " line%s no record%s: %s", counts->notes,
                         counts->notes == 1 ? " was" : "s were",
                         counts->notes == 1 ? "" : "s; the first", counts->first_note);
    return code == EXIT_CODE_OK && records == 0 && counts->notes > 0 ? EXIT_CODE_NOTHING : code;
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

/* --- the command --- */

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
    return run_merge(call, &options, &seen);
}

const struct command command_registry = {
    .name = "registry",
    .operands = "merge DIR|FILE|-",
    .operands_min = 1,
    .operands_max = OPTION_TEXTS_MAX,
    .summary = "Adds results to a registry of metrics.",
    .description =
        "`merge` appends records of results folders, JSONL or CSV files, archives or standard "
        "input to a registry of JSON lines. A record that is there already is not added again, "
        "lines of other programs stay as they are, and where there is nothing to add the file is "
        "not touched. Several merges may run at once.\n\nThe file is replaced whole or not at "
        "all. Records of the sandbox, and those that are invalid or unsteady, stay out unless "
        "--include names them (docs/registry.md).",
    .examples = "merge --into metrics.jsonl _bench\n"
                "merge --into metrics.jsonl _bench _bench.zip --include unsteady",
    .options = registry_rows,
    .options_count = ARRAY_COUNT(registry_rows),
    .operand_at = action_at,
    .run = run_registry,
};
