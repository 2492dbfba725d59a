#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "cli/command.h"
#include "cli/compare_call.h"
#include "compare/baseline.h"

#define FIELD_BYTES      64
#define COMMENT_ID_BYTES 200

enum include { INCLUDE_SANDBOX };

/* Texts are borrowed: from the command line. */
struct compare_options {
    double gate_percent;
    bool is_lenient, takes_newest_run, replaces;
    struct option_texts metrics, by, formats;
    struct option_picks includes;
    const char *comment_id, *baseline;
};

static const struct option_choice include_choices[] = {{"sandbox", INCLUDE_SANDBOX}, {NULL, 0}};

static const struct option compare_rows[] = {
    {.name = "metric",
     .type = OPTION_WORDS,
     .offset = offsetof(struct compare_options, metrics),
     .arg = "FIELD",
     .max = FIELD_BYTES,
     .group = "What",
     .help = "compare these fields; without it ms_p50 (tokens_per_sec where there is no median), "
             "peak_mem_mb, mem_predicted_mb, params_millions"},
    {.name = "by",
     .type = OPTION_WORDS,
     .offset = offsetof(struct compare_options, by),
     .arg = "FIELD",
     .max = FIELD_BYTES,
     .group = "What",
     .help =
         "cells are the same if these fields are, whatever else differs: mode seq_len batch_size "
         "compares two engines"},
    {.name = "newest",
     .type = OPTION_FLAG,
     .offset = offsetof(struct compare_options, takes_newest_run),
     .group = "What",
     .help = "of each cell only the newest run counts, not earlier ones in the same environment"},
    {.name = "include",
     .type = OPTION_CHOICES,
     .offset = offsetof(struct compare_options, includes),
     .arg = "KIND",
     .choices = include_choices,
     .group = "What",
     .help = "also compare results that were made up by the sandbox"},
    {.name = "gate",
     .type = OPTION_REAL,
     .offset = offsetof(struct compare_options, gate_percent),
     .arg = "PCT",
     .min = 1,
     .max = 100000,
     .group = "Gate",
     .help = "exit with 1 if a cell is worse by PCT % or more, with 3 if that cannot be decided; "
             "PCT takes the place of the smallest change that counts, of all that is measured"},
    {.name = "lenient",
     .type = OPTION_FLAG,
     .offset = offsetof(struct compare_options, is_lenient),
     .group = "Gate",
     .help = "UNDECIDED passes the gate"},
    {.name = "format",
     .type = OPTION_WORDS,
     .offset = offsetof(struct compare_options, formats),
     .arg = "FORM[:FILE]",
     .max = FILE_PATH_BYTES - 1,
     .group = "Output",
     .help = "text, markdown, json, junit: to standard output, or to a file; several at once. text "
             "without it"},
    {.name = "comment-id",
     .type = OPTION_TEXT,
     .offset = offsetof(struct compare_options, comment_id),
     .arg = "TEXT",
     .def = "compare",
     .max = COMMENT_ID_BYTES,
     .group = "Output",
     .help = "of the hidden last line of markdown, by which a comment is found again"},
    {.name = "save-baseline",
     .type = OPTION_TEXT,
     .offset = offsetof(struct compare_options, baseline),
     .arg = "NAME",
     .max = BASELINE_NAME_BYTES_MAX,
     .group = "Baselines",
     .help = "keep the new results under that name, unless the gate does not pass; BASE may be "
             "baseline:NAME later"},
    {.name = "force",
     .type = OPTION_FLAG,
     .offset = offsetof(struct compare_options, replaces),
     .group = "Baselines",
     .help = "replace a baseline of that name"},
    COMMAND_HELP_ROW,
};

static bool check_words(const struct invocation *call, const struct compare_options *options,
                        const struct options_seen *seen, bool has_gate)
{
    struct err err = {0};
    const char *last = seen->operands[seen->operands_count - 1];
    if (options->baseline != NULL && baseline_check_name(options->baseline, &err) != STATUS_OK)
        command_complain(call, "--save-baseline: %s", err.text);
    else if (options->baseline != NULL && strcmp(last, "-") == 0)
        command_complain(call, "--save-baseline cannot read standard input again; name a file");
    else if (seen->operands_count == 1 && options->baseline == NULL)
        command_complain(call, "needs BASE and NEW: results folders, files, archives or '-'");
    else if (seen->operands_count == 1 && has_gate)
        command_complain(call, "--gate needs BASE and NEW");
    else if (seen->operands_count == 2 && strcmp(seen->operands[0], "-") == 0 &&
             strcmp(seen->operands[1], "-") == 0)
        command_complain(call, "only one of BASE and NEW can be standard input");
    else if (options->is_lenient && !has_gate)
        command_complain(call, "--lenient needs --gate PCT");
    else if (options->replaces && options->baseline == NULL)
        command_complain(call, "--force needs --save-baseline NAME");
    else
        return true;
    return false;
}

static enum exit_code save(const struct invocation *call, const struct compare_options *options,
                           const char *source)
{
    struct err err = {0};
    enum status status = baseline_save(options->baseline, source, options->replaces, &err);
    if (status == STATUS_OK) {
        printf("kept as " BASELINE_PREFIX "%s\n", options->baseline);
        return EXIT_CODE_OK;
    }
    command_complain(call, "%s%s", err.text, status == STATUS_BUSY ? "; --force replaces it" : "");
    return status == STATUS_BUSY || status == STATUS_INVALID ? EXIT_CODE_USAGE : EXIT_CODE_IO;
}

static enum exit_code run_compare(const struct invocation *call)
{
    struct compare_options options = {0};
    struct options_seen seen = {0};
    struct err err = {0};
    enum exit_code code = EXIT_CODE_USAGE;
    if (!command_parse(call, &options, &seen, &code))
        return code;
    struct options_table table = command_options(call->command, call->program);
    bool has_gate = options_given(&table, &seen, "gate");
    if (!check_words(call, &options, &seen, has_gate))
        return EXIT_CODE_USAGE;
    const struct compare_call request = {
        .base = seen.operands[0],
        .now = seen.operands[1],
        .has_gate = has_gate,
        .is_lenient = options.is_lenient,
        .gate_percent = options.gate_percent,
        .metrics = options.metrics,
        .by = options.by,
        .formats = options.formats,
        .takes_newest_run = options.takes_newest_run,
        .includes_sandbox = options.includes.count > 0,
        .comment_id = options.comment_id,
    };
    if (compare_call_check(&request, &err) != STATUS_OK) {
        command_complain(call, "%s", err.text);
        return EXIT_CODE_USAGE;
    }
    if (seen.operands_count == 1)
        return save(call, &options, request.base);
    code = compare_call_run(call, &request);
    if (options.baseline == NULL)
        return code;
    if (code == EXIT_CODE_OK)
        return save(call, &options, request.now);
    command_complain(call, "the baseline '%s' was not saved", options.baseline);
    return code;
}

const struct command command_compare = {
    .name = "compare",
    .operands = "BASE NEW",
    .operands_min = 1,
    .operands_max = 2,
    .summary = "Says what has changed between two sets of results, and whether it is certain.",
    .description =
        "BASE and NEW are results folders, JSONL or CSV files, archives, standard input (-) or "
        "baseline:NAME, of tokmark or of the published scripts. Cells are matched by their ids. "
        "Each is WORSE, BETTER, SAME or UNDECIDED, MISSING from the new results or NEW in them, or "
        "NOT COMPARABLE. A change must be certain and large enough to count; how far runs of the "
        "same thing are apart is part of that (docs/compare.md).\n\nWith --gate the exit code is "
        "0: passed; 1: a cell is WORSE; 3: that cannot be decided, as where a cell is missing, is "
        "not comparable, or nothing was compared.",
    .examples = "base _bench\n"
                "base _bench --gate 3 --format text junit:gate.xml\n"
                "_bench --save-baseline main\n"
                "baseline:main _bench --gate 5\n"
                "_bench _bench_jax --by mode seq_len batch_size",
    .options = compare_rows,
    .options_count = ARRAY_COUNT(compare_rows),
    .run = run_compare,
};
