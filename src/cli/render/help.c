#include "cli/render/help.h"

#include <inttypes.h>
#include <string.h>

#include "base/version.h"
#include "base/wrap.h"

#define HELP_TEXT_COLUMN 22

static void append_spaces(struct buf *out, size_t count)
{
    for (size_t i = 0; i < count; i++)
        buf_append_char(out, ' ');
}

static void append_choices(const struct option *row, struct buf *out)
{
    for (const struct option_choice *choice = row->choices; choice->name != NULL; choice++)
        buf_appendf(out, "%s%s", choice == row->choices ? "" : ", ", choice->name);
}

void help_row_facts(const struct options_table *table, const struct option *row, struct buf *out)
{
    struct buf range;
    buf_init(&range, HELP_BYTES_MAX);
    if (row->type == OPTION_NUMBER) {
        buf_appendf(&range, "%" PRIu64 " to %" PRIu64, row->min, row->max);
        if (row->choices != NULL)
            buf_append_text(&range, " or ");
    }
    if (row->type == OPTION_REAL) {
        buf_appendf(&range, "%g to %g%s", (double)row->min / 100, (double)row->max / 100,
                    row->choices != NULL ? " or " : "");
    }
    if (row->type == OPTION_AXIS)
        buf_appendf(&range, "1 to %" PRIu64, row->max);
    else if (row->choices != NULL)
        append_choices(row, &range);
    const char *separator = range.length_bytes > 0 ? "; " : "";
    const char *def = option_default_text(table, row);
    if (row->type == OPTION_TEXTS)
        buf_appendf(&range, "%srepeatable", separator);
    else if (def != NULL)
        buf_appendf(&range, "%sdefault: %s", separator, def);
    if (range.length_bytes > 0)
        buf_appendf(out, "(%s)", range.data);
    buf_release(&range);
}

/* "-q, --quiet" or "--seq N..." */
static void append_row_head(const struct option *row, struct buf *out)
{
    if (row->short_name != 0)
        buf_appendf(out, "-%c, ", row->short_name);
    buf_appendf(out, "--%s", row->name);
    if (row->arg != NULL)
        buf_appendf(out, row->bare != NULL ? "[=%s]" : " %s", row->arg);
    if (option_is_list(row))
        buf_append_text(out, "...");
}

static void append_row(const struct options_table *table, const struct option *row, struct buf *out)
{
    size_t start_bytes = out->length_bytes;
    buf_append_text(out, "  ");
    append_row_head(row, out);
    size_t column = out->length_bytes - start_bytes;
    if (column + 2 > HELP_TEXT_COLUMN) {
        buf_append_char(out, '\n');
        column = 0;
    }
    append_spaces(out, HELP_TEXT_COLUMN - column);
    struct buf text;
    buf_init(&text, HELP_BYTES_MAX);
    buf_appendf(&text, "%s ", row->help);
    help_row_facts(table, row, &text);
    wrap_text(text.data, HELP_COLUMNS, HELP_TEXT_COLUMN, HELP_TEXT_COLUMN, out);
    buf_release(&text);
}

static void append_examples(const struct command *command, const struct program *program,
                            struct buf *out)
{
    buf_append_text(out, "\nExamples:\n");
    for (const char *line = command->examples; *line != '\0';) {
        size_t length = strcspn(line, "\n");
        buf_append_text(out, "  ");
        command_title(command, program, out);
        buf_appendf(out, "%s%.*s\n", length > 0 ? " " : "", (int)length, line);
        line += length + (line[length] == '\n' ? 1 : 0);
    }
}

static void append_exit_codes(struct buf *out)
{
    buf_append_text(out, "\nExit codes:\n");
#define X(name, code, text) buf_appendf(out, "  %-4d %s\n", code, text);
    EXIT_CODE_MAP(X)
#undef X
}

static void append_options(const struct options_table *table, struct buf *out)
{
    const char *group = "";
    for (size_t i = 0; i < options_rows_count(table); i++) {
        const struct option *row = options_row(table, i);
        if (!option_is_known(table, row))
            continue;
        if (strcmp(group, row->group) != 0)
            buf_appendf(out, "\n%s:\n", row->group);
        group = row->group;
        append_row(table, row, out);
    }
}

void help_command(const struct command *command, const struct program *program, struct buf *out)
{
    struct options_table table = command_options(command, program);
    buf_append_text(out, "Usage: ");
    command_title(command, program, out);
    if (command->operands != NULL)
        buf_appendf(out, " %s", command->operands);
    buf_append_text(out, " [FLAGS]\n\n");
    wrap_text(command->summary, HELP_COLUMNS, 0, 0, out);
    if (command->description != NULL) {
        buf_append_char(out, '\n');
        wrap_text(command->description, HELP_COLUMNS, 0, 0, out);
    }
    append_options(&table, out);
    if (command->examples != NULL)
        append_examples(command, program, out);
    if (command == &command_run || command == &command_check || command == &command_ab ||
        command == &command_noise)
        append_exit_codes(out);
}

void help_overview(struct buf *out)
{
    buf_appendf(out, "tokmark %s: measures how fast transformer language models train and run.\n\n",
                version_text());
    buf_append_text(out, "Usage: tokmark COMMAND [FLAGS]\n\nCommands:\n");
    for (unsigned i = 0; i < command_list_count; i++) {
        buf_appendf(out, "  %-12s", command_list[i]->name);
        wrap_text(command_list[i]->summary, HELP_COLUMNS, 14, 14, out);
    }
    buf_append_text(out, "\nFirst steps:\n"
                         "  tokmark run --dry-run        what would be measured; starts nothing\n"
                         "  tokmark run                  first results, in a minute or two\n"
                         "  tokmark run --help           every flag of a run\n"
                         "  tokmark help COMMAND         the same for any command\n");
    append_exit_codes(out);
    buf_append_char(out, '\n');
    wrap_text("The same program under the names bench_pytorch and bench_jax is `tokmark run` with "
              "the published scripts' flags and defaults.",
              HELP_COLUMNS, 0, 0, out);
}
