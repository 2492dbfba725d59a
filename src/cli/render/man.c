#include "cli/render/man.h"

#include <string.h>

#include "base/version.h"
#include "cli/command.h"
#include "cli/render/help.h"

#define PAGE_DATE "2026-11-22" /* of the last change of what it says */

struct man_options {
    bool unused;
};

static const struct option man_rows[] = {COMMAND_HELP_ROW};

/* Text as roff: backslashes and dashes are escaped, a line must not begin with '.' or '\''. */
static void append_text(struct buf *out, const char *text)
{
    bool is_line_begin = true;
    for (; *text != '\0'; text++) {
        if (is_line_begin && (*text == '.' || *text == '\''))
            buf_append_text(out, "\\&");
        is_line_begin = false;
        if (*text == '\\') {
            buf_append_text(out, "\\e");
        } else if (*text == '-') {
            buf_append_text(out, "\\-");
        } else if (*text == '\n') {
            text += strspn(text, "\n") - 1;
            buf_append_text(out, "\n.PP\n");
            is_line_begin = true;
        } else {
            buf_append_char(out, *text);
        }
    }
    buf_append_char(out, '\n');
}

static void append_row(const struct options_table *table, const struct option *row, struct buf *out)
{
    buf_append_text(out, ".TP\n");
    if (row->short_name != 0)
        buf_appendf(out, "\\fB\\-%c\\fR, ", row->short_name);
    buf_append_text(out, "\\fB\\-\\-");
    for (const char *c = row->name; *c != '\0'; c++)
        buf_appendf(out, "%s%c", *c == '-' ? "\\" : "", *c);
    buf_append_text(out, "\\fR");
    if (row->arg != NULL)
        buf_appendf(out, row->bare != NULL ? "[=\\fI%s\\fR]%s" : " \\fI%s\\fR%s", row->arg,
                    option_is_list(row) ? "..." : "");
    buf_append_char(out, '\n');
    struct buf text;
    buf_init(&text, HELP_BYTES_MAX);
    buf_appendf(&text, "%s ", row->help);
    help_row_facts(table, row, &text);
    append_text(out, text.data);
    buf_release(&text);
}

static void append_command(const struct command *command, struct buf *out)
{
    struct options_table table = command_options(command, &program_list[0]);
    /* every flag under any of the names */
    for (unsigned i = 0; i < program_list_count; i++)
        table.program |= (unsigned)program_list[i].bit;
    buf_appendf(out, ".SS tokmark %s%s%s\n", command->name, command->operands != NULL ? " " : "",
                command->operands != NULL ? command->operands : "");
    append_text(out, command->summary);
    if (command->description != NULL) {
        buf_append_text(out, ".PP\n");
        append_text(out, command->description);
    }
    for (size_t i = 0; i < options_rows_count(&table); i++) {
        const struct option *row = options_row(&table, i);
        if (row->type != OPTION_HELP && option_is_known(&table, row))
            append_row(&table, row, out);
    }
}

static void append_names(struct buf *out)
{
    buf_append_text(out, ".SH NAME\ntokmark \\- benchmark suite for transformer language models\n"
                         ".SH SYNOPSIS\n");
    for (unsigned i = 0; i < program_list_count; i++)
        buf_appendf(out, "%s\\fB%s\\fR%s [\\fIFLAGS\\fR]\n", i > 0 ? ".br\n" : "",
                    program_list[i].name,
                    program_list[i].command == NULL ? " \\fICOMMAND\\fR" : "");
    buf_append_text(out, ".SH DESCRIPTION\n");
    append_text(out,
                "tokmark sweeps device, precision, mode, sequence length and batch size over "
                "interchangeable engines, decides warm-up and stopping the same way for all of "
                "them, and appends one record per cell to bench_results.jsonl and "
                "bench_results.csv.\n\nUnder the names bench_pytorch and bench_jax the program is "
                "\"tokmark run\" with the published scripts' flags and defaults:");
    for (unsigned i = 0; i < program_list_count; i++) {
        const struct option_default *other = program_list[i].defaults;
        if (other == NULL)
            continue;
        buf_appendf(out, ".TP\n\\fB%s\\fR\n", program_list[i].name);
        for (; other->name != NULL; other++)
            if (other->def != NULL)
                buf_appendf(out, "\\-\\-%s %s\n", other->name, other->def);
    }
}

static void append_examples(struct buf *out)
{
    buf_append_text(out, ".SH EXAMPLES\n.nf\n");
    for (unsigned i = 0; i < command_list_count; i++) {
        const char *line = command_list[i]->examples;
        while (line != NULL && *line != '\0') {
            size_t length = strcspn(line, "\n");
            char text[256];
            size_t kept = length < sizeof(text) - 1 ? length : sizeof(text) - 1;
            memcpy(text, line, kept);
            text[kept] = '\0';
            buf_appendf(out, "tokmark %s ", command_list[i]->name);
            append_text(out, text);
            line += length + (line[length] == '\n' ? 1 : 0);
        }
    }
    buf_append_text(out, ".fi\n");
}

void man_page(struct buf *out)
{
    buf_appendf(out, ".TH TOKMARK 1 \"%s\" \"tokmark %s\" \"User Commands\"\n", PAGE_DATE,
                version_text());
    append_names(out);
    buf_append_text(out, ".SH COMMANDS\n");
    for (unsigned i = 0; i < command_list_count; i++)
        append_command(command_list[i], out);
    buf_append_text(out, ".SH FILES\n.TP\n\\fIDIR\\fR/bench_results.jsonl\n"
                         "One JSON object a cell and trial.\n"
                         ".TP\n\\fIDIR\\fR/bench_results.csv\nThe same as CSV (RFC 4180).\n"
                         ".TP\n\\fIDIR\\fR/samples/\nEvery step's duration.\n"
                         ".TP\n\\fIDIR\\fR/logs/\nWhat workers wrote to standard error.\n"
                         ".SH ENVIRONMENT\n.TP\nNO_COLOR\nNo colour, when set and not empty.\n"
                         ".SH EXIT STATUS\n");
#define X(name, code, text)                      \
    buf_appendf(out, ".TP\n\\fB%d\\fR\n", code); \
    append_text(out, text);
    EXIT_CODE_MAP(X)
#undef X
    append_examples(out);
}

static enum exit_code run_man(const struct invocation *call)
{
    struct man_options options = {0};
    enum exit_code code;
    if (!command_parse(call, &options, NULL, &code))
        return code;
    struct buf out;
    buf_init(&out, MAN_BYTES_MAX);
    man_page(&out);
    return command_print(call, &out);
}

const struct command command_man = {
    .name = "man",
    .summary = "Prints the manual page as roff.",
    .description = "Read it with: tokmark man | man -l -",
    .options = man_rows,
    .options_count = ARRAY_COUNT(man_rows),
    .run = run_man,
};
