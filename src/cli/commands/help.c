#include "cli/render/help.h"
#include "base/nearest.h"
#include "cli/command.h"

struct help_options {
    bool unused;
};

static const struct option help_rows[] = {COMMAND_HELP_ROW};

static const char *command_at(unsigned index)
{
    return index < command_list_count ? command_list[index]->name : NULL;
}

static enum exit_code run_help(const struct invocation *call)
{
    struct help_options options = {0};
    struct options_seen seen;
    enum exit_code code;
    if (!command_parse(call, &options, &seen, &code))
        return code;
    struct buf out;
    buf_init(&out, HELP_BYTES_MAX);
    if (seen.operands_count == 0) {
        help_overview(&out);
        return command_print(call, &out);
    }
    /* `help bench_jax` is the help of that name. */
    const char *word = seen.operands[0];
    const struct program *program = program_find(word);
    const struct command *command =
        command_find(program->command != NULL ? program->command : word);
    if (command == NULL) {
        const char *names[OPTIONS_MAX];
        for (unsigned i = 0; i < command_list_count; i++)
            names[i] = command_list[i]->name;
        struct nearest_hint hint;
        command_complain(call, "unknown command '%.80s'; %s", word,
                         nearest_hint(&hint, "", word, names, command_list_count));
        buf_release(&out);
        return EXIT_CODE_USAGE;
    }
    help_command(command, program, &out);
    return command_print(call, &out);
}

const struct command command_help = {
    .name = "help",
    .operands = "[COMMAND]",
    .operands_max = 1,
    .summary = "Prints the commands, or the flags of one.",
    .options = help_rows,
    .options_count = ARRAY_COUNT(help_rows),
    .operand_at = command_at,
    .run = run_help,
};
