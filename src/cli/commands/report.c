#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/command.h"
#include "cli/forms.h"
#include "cli/render/terminal.h"
#include "compare/baseline.h"
#include "report/format.h"

struct report_options {
    struct option_texts formats;
};

static const struct option report_rows[] = {
    {.name = "format",
     .type = OPTION_WORDS,
     .offset = offsetof(struct report_options, formats),
     .arg = "FORM[:FILE]",
     .max = FILE_PATH_BYTES - 1,
     .group = "Output",
     .help = "text, markdown, html: to standard output, or to a file; several at once. text "
             "without it"},
    COMMAND_HELP_ROW,
};

static struct forms known_forms(void)
{
    struct forms forms = {.count = report_formats_count};
    ASSERT(report_formats_count <= FORMS_MAX);
    for (size_t i = 0; i < report_formats_count; i++)
        forms.names[i] = report_formats[i].name;
    return forms;
}

/* What the terminal can show, by the variables that say so. */
static bool has_utf8(void)
{
    static const char *const names[] = {"LC_ALL", "LC_CTYPE", "LANG"};
    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        const char *value = getenv(names[i]);
        if (value != NULL && value[0] != '\0')
            return strcasestr(value, "utf-8") != NULL || strcasestr(value, "utf8") != NULL;
    }
    return false;
}

struct report_file {
    const struct report_format *format; /* borrowed */
    struct report_output output;
};

/* A file_writer. */
static enum status write_to(void *context, int fd, struct err *err)
{
    const struct report_file *writing = context;
    struct buf text CLEANUP(buf_release) = {0};
    buf_init(&text, REPORT_BYTES_MAX);
    writing->format->write(&writing->output, &text);
    if (text.failed)
        return ERR(err, STATUS_NOMEM, "no memory for the report's %s", writing->format->name);
    return forms_put(fd, text.data, text.length_bytes, err);
}

static enum status write_form(const struct document *document, const char *word, struct err *err)
{
    const struct forms forms = known_forms();
    char folder[FILE_PATH_BYTES] = ".";
    const char *file = NULL;
    struct report_file writing = {.format = &report_formats[forms_find(&forms, word, &file)]};
    writing.output =
        (struct report_output){.document = document,
                               .columns = file == NULL ? terminal_columns(1) : 0,
                               .is_ascii = !has_utf8(),
                               .has_color = file == NULL && terminal_has_color(RUN_WHEN_AUTO, 1),
                               .folder = folder};
    const char *slash = file != NULL ? strrchr(file, '/') : NULL;
    if (slash != NULL)
        (void)snprintf(folder, sizeof(folder), "%.*s", (int)(slash - file + 1), file);
    return forms_write(file, write_to, &writing, err);
}

static enum status write_forms(struct report *report, const struct option_texts *words,
                               struct err *err)
{
    struct document *document = NULL;
    enum status status = document_new(report, &document, err);
    if (status == STATUS_OK && words->count == 0)
        status = write_form(document, "text", err);
    for (size_t i = 0; status == STATUS_OK && i < words->count; i++)
        status = write_form(document, words->items[i], err);
    document_free(document);
    return status;
}

/* Standard input is read once, and what has changed needs a second look. */
static bool check_operands(const struct invocation *call, const struct options_seen *seen)
{
    for (size_t i = 0; seen->operands_count > 1 && i < seen->operands_count; i++)
        if (strcmp(seen->operands[i], "-") == 0) {
            command_complain(call, "standard input can only be reported alone");
            return false;
        }
    return true;
}

static enum exit_code run_report(const struct invocation *call)
{
    struct report_options options = {0};
    struct options_seen seen = {0};
    struct err err = {0};
    enum exit_code code = EXIT_CODE_USAGE;
    const struct forms forms = known_forms();
    if (!command_parse(call, &options, &seen, &code))
        return code;
    if (!check_operands(call, &seen))
        return EXIT_CODE_USAGE;
    if (forms_check(&forms, &options.formats, &err) != STATUS_OK) {
        command_complain(call, "%s", err.text);
        return EXIT_CODE_USAGE;
    }
    char(*files)[FILE_PATH_BYTES] = calloc(REPORT_SOURCES_MAX, sizeof(*files));
    const char *paths[REPORT_SOURCES_MAX];
    struct report *report = NULL;
    enum status status =
        files != NULL ? STATUS_OK : ERR(&err, STATUS_NOMEM, "no memory for a report");
    for (size_t i = 0; status == STATUS_OK && i < seen.operands_count; i++) {
        status = baseline_resolve(seen.operands[i], files[i], &err);
        paths[i] = files[i];
    }
    if (status == STATUS_OK)
        status = report_new(paths, seen.operands, seen.operands_count, &report, &err);
    if (status == STATUS_OK)
        status = write_forms(report, &options.formats, &err);
    if (status != STATUS_OK)
        command_complain(call, "%s", err.text);
    code = status != STATUS_OK        ? EXIT_CODE_IO
           : report->cells_count == 0 ? EXIT_CODE_NOTHING
                                      : EXIT_CODE_OK;
    report_free(report);
    free(files);
    return code;
}

const struct command command_report = {
    .name = "report",
    .operands = "DIR...",
    .operands_min = 1,
    .operands_max = REPORT_SOURCES_MAX,
    .summary = "Shows results: what is fast, what fits, and whether to trust it.",
    .description =
        "DIR is a results folder, a JSONL or CSV file, an archive, standard input (-) or "
        "baseline:NAME. A report answers in this order: what is fast, what fits, can the results "
        "be trusted, how far is the machine's limit, what has changed. Several sets of results "
        "stand side by side, and the others are compared with the first.\n\n"
        "html is one file that needs nothing else, with charts, a table for each, and links to raw "
        "samples beside it; in a results folder it can move with them (docs/report.md).",
    .examples = "_bench\n"
                "_bench --format html:_bench/report.html\n"
                "base _bench --format text html:report.html markdown:report.md",
    .options = report_rows,
    .options_count = ARRAY_COUNT(report_rows),
    .run = run_report,
};
