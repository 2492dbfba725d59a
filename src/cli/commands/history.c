#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/nearest.h"
#include "base/num.h"
#include "cli/command.h"
#include "cli/render/terminal.h"
#include "compare/course_format.h"

#define FIELD_BYTES 64

enum format { FORMAT_TEXT, FORMAT_JSON };

struct history_options {
    struct option_texts metrics, by;
    struct option_picks includes;
    uint64_t format;
    bool shows_steps_only;
};

static const struct option_choice include_choices[] = {
#define X(name, word) {(word), ADMIT_##name},
    ADMIT_MAP(X)
#undef X
        {NULL, 0}};

static const struct option_choice format_choices[] = {
    {"text", FORMAT_TEXT}, {"json", FORMAT_JSON}, {NULL, 0}};

static const struct option history_rows[] = {
    {.name = "metric",
     .type = OPTION_WORDS,
     .offset = offsetof(struct history_options, metrics),
     .arg = "FIELD",
     .max = FIELD_BYTES,
     .group = "What",
     .help = "the course of these fields; without it ms_p50 (tokens_per_sec where there is no "
             "median), peak_mem_mb, mem_predicted_mb, params_millions"},
    {.name = "by",
     .type = OPTION_WORDS,
     .offset = offsetof(struct history_options, by),
     .arg = "FIELD",
     .max = FIELD_BYTES,
     .group = "What",
     .help = "cells are the same if these fields are, whatever else differs"},
    {.name = "include",
     .type = OPTION_CHOICES,
     .offset = offsetof(struct history_options, includes),
     .arg = "KIND",
     .choices = include_choices,
     .group = "What",
     .help = "also records of these kinds, which stay out otherwise"},
    {.name = "steps-only",
     .type = OPTION_FLAG,
     .offset = offsetof(struct history_options, shows_steps_only),
     .group = "Output",
     .help = "leave out courses without a step"},
    {.name = "format",
     .type = OPTION_CHOICE,
     .offset = offsetof(struct history_options, format),
     .arg = "FORM",
     .def = "text",
     .choices = format_choices,
     .group = "Output",
     .help = "text, or json with every point"},
    COMMAND_HELP_ROW,
};

static enum status find_fields(const struct option_texts *names, enum fact_id *fields,
                               struct err *err)
{
    const char *known[FACTS_COUNT];
    struct nearest_hint hint;
    for (enum fact_id id = 0; id < FACTS_COUNT; id++)
        known[id] = fact_of(id)->name;
    for (size_t i = 0; i < names->count; i++)
        if (!fact_find(names->items[i], &fields[i]))
            return ERR(err, STATUS_INVALID, "--by: no field is named '%.100s'; %s", names->items[i],
                       nearest_hint(&hint, "", names->items[i], known, FACTS_COUNT));
    return STATUS_OK;
}

/* main() says why standard output cannot be written. */
static enum status write_stdout(void *context, const char *bytes, size_t bytes_count,
                                struct err *err)
{
    (void)context;
    return fwrite(bytes, 1, bytes_count, stdout) == bytes_count
               ? STATUS_OK
               : ERR(err, STATUS_IO, "cannot write to standard output");
}

static void tell_what_stays_out(const struct invocation *call, const struct courses *courses)
{
    const struct courses_summary *summary = courses_summary(courses);
    for (size_t i = 0; i < ADMIT_KINDS_COUNT; i++)
        if (summary->left_out[i] > 0)
            fprintf(stderr, "%s: %zu %s record%s stayed out; --include %s takes them in\n",
                    call->program->name, summary->left_out[i], admit_word((enum admit_kind)i),
                    num_plural(summary->left_out[i]), admit_word((enum admit_kind)i));
    if (summary->failed_count > 0)
        fprintf(stderr, "%s: %zu record%s without a result\n", call->program->name,
                summary->failed_count, num_plural(summary->failed_count));
    command_complain_of_notes(call, &summary->notes);
}

static enum status read_all(struct courses *courses, const struct options_seen *seen,
                            struct err *err)
{
    for (size_t i = 0; i < seen->operands_count; i++)
        TRY(courses_read(courses, seen->operands[i], err));
    return courses_sort(courses, err);
}

static void free_courses(struct courses **courses)
{
    courses_free(*courses);
}

static enum exit_code show(const struct invocation *call, const struct history_options *options,
                           const struct courses_options *what, const struct options_seen *seen)
{
    struct courses *courses CLEANUP(free_courses) = NULL;
    struct err err = {0};
    if (courses_new(what, &courses, &err) != STATUS_OK ||
        read_all(courses, seen, &err) != STATUS_OK) {
        command_complain(call, "%s", err.text);
        return EXIT_CODE_IO;
    }
    const struct course_output output = {
        .courses = courses,
        .shows_steps_only = options->shows_steps_only,
        .is_ascii = !terminal_shows_utf8(),
        .sink = write_stdout,
    };
    tell_what_stays_out(call, courses);
    if (course_formats[options->format].write(&output, &err) != STATUS_OK) {
        command_complain(call, "%s", err.text);
        return EXIT_CODE_IO;
    }
    return courses_summary(courses)->kept_count > 0 ? EXIT_CODE_OK : EXIT_CODE_SOME_NOT_OK;
}

static enum exit_code run_history(const struct invocation *call)
{
    struct history_options options = {0};
    struct options_seen seen = {0};
    struct courses_options what = {0};
    enum fact_id by[OPTION_TEXTS_MAX];
    struct err err = {0};
    enum exit_code code = EXIT_CODE_USAGE;
    if (!command_parse(call, &options, &seen, &code))
        return code;
    if (metrics_choose(options.metrics.items, options.metrics.count, 0, &what.metrics, &err) !=
            STATUS_OK ||
        find_fields(&options.by, by, &err) != STATUS_OK) {
        command_complain(call, "%s", err.text);
        return EXIT_CODE_USAGE;
    }
    what.by = options.by.count > 0 ? by : NULL;
    what.by_count = options.by.count;
    for (size_t i = 0; i < options.includes.count; i++)
        what.includes[options.includes.values[i]] = true;
    return show(call, &options, &what, &seen);
}

const struct command command_history = {
    .name = "history",
    .operands = "RESULTS...",
    .operands_min = 1,
    .operands_max = OPTION_TEXTS_MAX,
    .summary = "Shows the course of metrics over many runs, and where they changed their level.",
    .description =
        "RESULTS are results folders, JSONL or CSV files (a registry of `registry merge` among "
        "them), archives, or standard input (-). A step is where a metric changes its level and "
        "stays there, found by PELT; smaller changes than count in a comparison are none. At each "
        "step it says what the records of both sides do not have in common: versions, settings, "
        "environment (docs/history.md).",
    .examples = "_bench\n"
                "registry.jsonl --metric tokens_per_sec --steps-only\n"
                "base _bench --format json",
    .options = history_rows,
    .options_count = ARRAY_COUNT(history_rows),
    .run = run_history,
};
