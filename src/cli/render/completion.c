#include "cli/render/completion.h"

#include <string.h>

#include "cli/command.h"

struct completion_options {
    bool unused;
};

static const struct option completion_rows[] = {COMMAND_HELP_ROW};

static const char *shell_at(unsigned index)
{
    return index == 0 ? "bash" : NULL;
}

/* The words a value may be, between spaces. */
static void append_words(const struct option *row, struct buf *out)
{
    const char *separator = "";
    const struct option_choice *choice = row->choices;
    for (; choice != NULL && choice->name != NULL; choice++) {
        buf_appendf(out, "%s%s", separator, choice->name);
        separator = " ";
    }
    for (unsigned i = 0; row->word_at != NULL && row->word_at(i) != NULL; i++) {
        buf_appendf(out, "%s%s", separator, row->word_at(i));
        separator = " ";
    }
}

static void append_flags(const struct options_table *table, struct buf *out)
{
    const char *separator = "";
    for (size_t i = 0; i < options_rows_count(table); i++) {
        const struct option *row = options_row(table, i);
        if (!option_is_known(table, row))
            continue;
        buf_appendf(out, "%s--%s", separator, row->name);
        separator = " ";
    }
}

/* "command--flag) words=...;;" for every flag that takes a value. */
static void append_values(const struct command *command, struct buf *out)
{
    struct options_table table = command_options(command, &program_list[0]);
    for (unsigned i = 0; i < program_list_count; i++)
        table.program |= (unsigned)program_list[i].bit;
    for (size_t i = 0; i < options_rows_count(&table); i++) {
        const struct option *row = options_row(&table, i);
        if (row->arg == NULL || !option_is_known(&table, row))
            continue;
        buf_appendf(out, "    %s--%s)", command->name, row->name);
        if (row->choices != NULL || row->word_at != NULL) {
            buf_append_text(out, " words='");
            append_words(row, out);
            buf_append_char(out, '\'');
        }
        bool is_path = strcmp(row->arg, "FILE") == 0 || strcmp(row->name, "model") == 0;
        if (is_path || strcmp(row->arg, "DIR") == 0)
            buf_appendf(out, "%spaths=%s", row->choices || row->word_at ? "; " : " ",
                        is_path ? "-f" : "-d");
        buf_appendf(out, "%s ;;\n", option_is_list(row) ? " is_list=1" : "");
    }
}

static void append_script(struct buf *out)
{
    buf_append_text(out, "# bash completion for tokmark, bench_pytorch and bench_jax.\n"
                         "# Made by `tokmark completion bash` from its option tables.\n"
                         "_tokmark_values()\n{\n"
                         "    words='' paths=''\n"
                         "    case \"$1\" in\n");
    for (unsigned i = 0; i < command_list_count; i++)
        append_values(command_list[i], out);
    buf_append_text(out, "    *) return 1 ;;\n    esac\n}\n"
                         "_tokmark_flags()\n{\n"
                         "    case \"$1\" in\n");
    for (unsigned i = 0; i < program_list_count; i++) {
        const struct program *program = &program_list[i];
        if (program->command == NULL)
            continue;
        struct options_table table = command_options(command_find(program->command), program);
        buf_appendf(out, "    %s) words='", program->name);
        append_flags(&table, out);
        buf_append_text(out, "' ;;\n");
    }
    for (unsigned i = 0; i < command_list_count; i++) {
        struct options_table table = command_options(command_list[i], &program_list[0]);
        buf_appendf(out, "    %s) words='", command_list[i]->name);
        append_flags(&table, out);
        buf_append_text(out, "' ;;\n");
    }
    buf_append_text(out, "    esac\n}\n"
                         "_tokmark_operands()\n{\n"
                         "    case \"$1\" in\n    '') words='");
    for (unsigned i = 0; i < command_list_count; i++)
        buf_appendf(out, "%s%s", i > 0 ? " " : "", command_list[i]->name);
    buf_append_text(out, "' ;;\n");
    for (unsigned i = 0; i < command_list_count; i++) {
        const struct command *command = command_list[i];
        if (command->operand_at == NULL)
            continue;
        buf_appendf(out, "    %s) words='", command->name);
        for (unsigned j = 0; command->operand_at(j) != NULL; j++)
            buf_appendf(out, "%s%s", j > 0 ? " " : "", command->operand_at(j));
        buf_append_text(out, "' ;;\n");
    }
    buf_append_text(out, "    esac\n}\n");
}

/* The part that does not depend on the tables: finds the flag whose value is being typed. */
static const char driver[] =
    "_tokmark()\n{\n"
    "    local current=\"${COMP_WORDS[COMP_CWORD]}\" program=\"${COMP_WORDS[0]##*/}\"\n"
    "    local command='' flag='' words='' paths='' first=1 i\n"
    "    if [ \"$program\" != tokmark ]; then command=run first=0; fi\n"
    "    if [ \"$first\" = 1 ] && [ \"$COMP_CWORD\" -gt 1 ]; then command=\"${COMP_WORDS[1]}\"; "
    "fi\n"
    "    for ((i = COMP_CWORD - 1; i > first; i--)); do\n"
    "        case \"${COMP_WORDS[i]}\" in --*) flag=\"${COMP_WORDS[i]}\"; break ;; esac\n"
    "    done\n"
    "    # bash splits --flag=value at the '='\n"
    "    if [ \"$current\" = '=' ]; then current=''; fi\n"
    "    case \"$current\" in -*) flag='' ;; esac\n"
    "    COMPREPLY=()\n"
    "    if [ -n \"$flag\" ] && _tokmark_values \"$command$flag\"; then\n"
    "        COMPREPLY=($(compgen -W \"$words\" -- \"$current\"))\n"
    "        if [ -n \"$paths\" ]; then\n"
    "            COMPREPLY+=($(compgen \"$paths\" -- \"$current\"))\n"
    "        fi\n"
    "        return\n"
    "    fi\n"
    "    case \"$current\" in\n"
    "    -*) _tokmark_flags \"$([ \"$first\" = 1 ] && echo \"$command\" || echo \"$program\")\" "
    ";;\n"
    "    *) _tokmark_operands \"$command\" ;;\n"
    "    esac\n"
    "    COMPREPLY=($(compgen -W \"$words\" -- \"$current\"))\n"
    "}\n"
    "complete -F _tokmark tokmark bench_pytorch bench_jax\n";

void completion_bash(struct buf *out)
{
    append_script(out);
    buf_append_text(out, driver);
}

static enum exit_code run_completion(const struct invocation *call)
{
    struct completion_options options = {0};
    struct options_seen seen;
    enum exit_code code;
    if (!command_parse(call, &options, &seen, &code))
        return code;
    if (strcmp(seen.operands[0], "bash") != 0) {
        command_complain(call, "unknown shell '%.80s'; did you mean 'bash'?", seen.operands[0]);
        return EXIT_CODE_USAGE;
    }
    struct buf out;
    buf_init(&out, COMPLETION_BYTES_MAX);
    completion_bash(&out);
    return command_print(call, &out);
}

const struct command command_completion = {
    .name = "completion",
    .operands = "SHELL",
    .operands_min = 1,
    .operands_max = 1,
    .summary = "Prints a completion script for bash.",
    .description = "Load it with: source <(tokmark completion bash), or put it into "
                   "/usr/share/bash-completion/completions/tokmark.",
    .examples = "bash",
    .options = completion_rows,
    .options_count = ARRAY_COUNT(completion_rows),
    .operand_at = shell_at,
    .run = run_completion,
};
