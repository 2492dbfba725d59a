#include "export/export.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/nearest.h"
#include "cli/command.h"
#include "export/http.h"

#define LIST_BYTES_MAX    65536
#define MESSAGE_BYTES_MAX 8192

/* Texts are borrowed: from the command line. */
struct export_options {
    const char *to, *fields;
    struct option_picks includes;
    uint64_t timeout_ns;
    bool is_list;
};

static const struct option_choice include_choices[] = {
#define X(name, word) {(word), ADMIT_##name},
    ADMIT_MAP(X)
#undef X
        {NULL, 0}};

static const struct option export_rows[] = {
    {.name = "to",
     .type = OPTION_TEXT,
     .offset = offsetof(struct export_options, to),
     .arg = "FILE|DIR|URL",
     .max = FILE_PATH_BYTES - 1,
     .group = "Output",
     .help = "where it goes; standard output without it"},
    {.name = "fields",
     .type = OPTION_TEXT,
     .offset = offsetof(struct export_options, fields),
     .arg = "A,B",
     .max = OPTION_VALUE_BYTES,
     .group = "Which",
     .help = "these numbers (`tokmark fields`), or all of which more or less is better: all"},
    {.name = "include",
     .type = OPTION_CHOICES,
     .offset = offsetof(struct export_options, includes),
     .arg = "KIND",
     .choices = include_choices,
     .group = "Which",
     .help = "also records of these kinds, which stay out otherwise"},
    {.name = "timeout",
     .type = OPTION_DURATION,
     .offset = offsetof(struct export_options, timeout_ns),
     .arg = "TIME",
     .def = "30s",
     .group = "Output",
     .help = "of each request to a server"},
    {.name = "list",
     .type = OPTION_FLAG,
     .offset = offsetof(struct export_options, is_list),
     .group = "Output",
     .help = "print the formats, what reads each, and what each leaves out"},
    COMMAND_HELP_ROW,
};

static const char *format_at(unsigned index)
{
    return index < exporter_list_count ? exporter_list[index]->name : NULL;
}

static enum exit_code print_list(const struct invocation *call)
{
    struct buf out CLEANUP(buf_release) = {0};
    buf_init(&out, LIST_BYTES_MAX);
    for (size_t i = 0; i < exporter_list_count; i++) {
        const struct exporter *exporter = exporter_list[i];
        unsigned places = exporter->places;
        buf_appendf(&out, "%s\n  %s\n  to: %s%s%s%s%s\n  leaves out: %s\n", exporter->name,
                    exporter->says, (places & EXPORT_TO_STREAM) != 0 ? "standard output, FILE" : "",
                    (places & EXPORT_TO_STREAM) != 0 && (places & EXPORT_TO_FOLDER) != 0 ? ", "
                                                                                         : "",
                    (places & EXPORT_TO_FOLDER) != 0 ? "DIR" : "",
                    (places & EXPORT_TO_URL) != 0 && places != EXPORT_TO_URL ? ", " : "",
                    (places & EXPORT_TO_URL) != 0 ? "URL" : "", exporter->leaves_out);
    }
    return command_print(call, &out);
}

static const struct exporter *find_format(const struct invocation *call, const char *name)
{
    const char *names[64];
    struct nearest_hint hint;
    const struct exporter *exporter = exporter_find(name);
    ASSERT(exporter_list_count <= ARRAY_COUNT(names));
    for (size_t i = 0; i < exporter_list_count; i++)
        names[i] = exporter_list[i]->name;
    if (exporter == NULL)
        command_complain(call, "no format is named '%.80s'; %s", name,
                         nearest_hint(&hint, "", name, names, exporter_list_count));
    return exporter;
}

static enum status write_out(void *context, const char *bytes, size_t bytes_count, struct err *err)
{
    (void)context;
    /* What could not be written makes the exit code when main() ends stdout. */
    return fwrite(bytes, 1, bytes_count, stdout) == bytes_count
               ? STATUS_OK
               : ERR(err, STATUS_IO, "cannot write to standard output");
}

static void append_count(struct buf *out, uint64_t count, const char *text)
{
    if (count > 0)
        buf_appendf(out, "%s%" PRIu64 " %s", out->length_bytes > 0 ? "; " : "", count, text);
}

/* What was not exported, and why: on standard error, since the other may be the export. */
static void tell_left_out(const struct invocation *call, const struct export_counts *counts)
{
    struct buf out CLEANUP(buf_release) = {0};
    buf_init(&out, MESSAGE_BYTES_MAX);
    for (enum admit_kind kind = 0; kind < ADMIT_KINDS_COUNT; kind++)
        if (counts->left_out[kind] > 0)
            buf_appendf(&out, "%s%" PRIu64 " stayed out: %s (--include %s)",
                        out.length_bytes > 0 ? "; " : "", counts->left_out[kind], admit_word(kind),
                        admit_word(kind));
    append_count(&out, counts->empty, "without a result");
    append_count(&out, counts->unfit, "of a kind that the form has no place for");
    if (out.length_bytes > 0)
        command_complain(call, "%s", out.data);
    command_complain_of_notes(call, &counts->notes);
}

static enum exit_code tell(const struct invocation *call, const struct export_request *request,
                           const struct export_counts *counts, enum status status,
                           const struct err *err)
{
    struct buf out CLEANUP(buf_release) = {0};
    tell_left_out(call, counts);
    if (counts->is_nothing) {
        command_complain(call, "%s%s", err->text,
                         request->to == NULL ? "" : "; nothing was changed there");
        return EXIT_CODE_NOTHING;
    }
    if (status != STATUS_OK) {
        command_complain(call, "%s", err->text);
        return status == STATUS_INVALID ? EXIT_CODE_USAGE : EXIT_CODE_IO;
    }
    if (request->to == NULL)
        return EXIT_CODE_OK;
    buf_init(&out, MESSAGE_BYTES_MAX);
    http_append_shown(request->to, &out);
    buf_appendf(&out, ": %" PRIu64 " record%s", counts->records, counts->records == 1 ? "" : "s");
    if (counts->had > 0)
        buf_appendf(&out, "; %" PRIu64 " already there", counts->had);
    buf_append_char(&out, '\n');
    return command_print(call, &out);
}

static enum exit_code run_export(const struct invocation *call)
{
    struct export_options options = {0};
    struct options_seen seen = {0};
    struct err err = {0};
    enum exit_code code = EXIT_CODE_USAGE;
    enum fact_id fields[FACTS_COUNT];
    enum export_place place;
    struct export_counts counts = {0};
    struct export_request request = {.fields = fields, .sink = write_out};
    if (!command_parse(call, &options, &seen, &code))
        return code;
    if (options.is_list)
        return print_list(call);
    if (seen.operands_count < 2) {
        command_complain(call, "needs a FORMAT and what is to be exported: a results folder, a "
                               "file, an archive, or - for standard input; --list shows formats");
        return EXIT_CODE_USAGE;
    }
    request.exporter = find_format(call, seen.operands[0]);
    if (request.exporter == NULL)
        return EXIT_CODE_USAGE;
    request.sources = seen.operands + 1;
    request.sources_count = seen.operands_count - 1;
    request.timeout_ns = options.timeout_ns;
    for (size_t i = 0; i < options.includes.count; i++)
        request.includes[options.includes.values[i]] = true;
    enum status status =
        export_choose_fields(request.exporter, options.fields, fields, &request.fields_count, &err);
    if (status == STATUS_OK)
        status = export_find_target(request.exporter, options.to, &request.to, &place, &err);
    if (status == STATUS_OK)
        status = export_run(&request, &counts, &err);
    return tell(call, &request, &counts, status, &err);
}

const struct command command_export = {
    .name = "export",
    .operands = "FORMAT [DIR|FILE|-]",
    .operands_max = OPTION_TEXTS_MAX,
    .summary = "Writes results in the form of another program.",
    .description =
        "Reads results folders, JSONL or CSV files, archives or standard input, and writes what "
        "Prometheus, MLflow, TensorBoard, Bencher and others take; --list shows each format and "
        "what it "
        "leaves out (docs/export.md). A file is replaced whole or not at all, and the same results "
        "give the same bytes.\n\nRecords of the sandbox, and those that are invalid or unsteady, "
        "stay out unless --include names them. Where nothing is left to be exported, nothing is "
        "written, and the exit code is 4.",
    .examples = "prometheus _bench --to tokmark.prom\n"
                "github-action-benchmark _bench --to bench-data/\n"
                "bmf _bench --fields tokens_per_sec --to results.json\n"
                "tensorboard _bench --to board\n"
                "mlflow _bench --to http://localhost:5000\n"
                "--list",
    .options = export_rows,
    .options_count = ARRAY_COUNT(export_rows),
    .operand_at = format_at,
    .run = run_export,
};
