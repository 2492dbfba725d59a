#include "cli/command.h"
#include "engines/engine.h"

#define OUTPUT_BYTES_MAX (64 * 1024)

struct engines_options {
    bool unused;
};

static const struct option engines_rows[] = {COMMAND_HELP_ROW};

static enum exit_code run_engines(const struct invocation *call)
{
    struct engines_options options = {0};
    enum exit_code code;
    if (!command_parse(call, &options, NULL, &code))
        return code;
    struct buf out;
    buf_init(&out, OUTPUT_BYTES_MAX);
    for (unsigned i = 0; i < engine_list_count; i++)
        buf_appendf(&out, "%-14s  %-10s  %s\n", engine_list[i]->name, engine_list[i]->version,
                    engine_list[i]->summary);
    buf_appendf(&out, "%-14s  %-10s  %s\n", "exec:COMMAND", "",
                "any program that speaks the worker protocol");
    return command_print(call, &out);
}

const struct command command_engines = {
    .name = "engines",
    .summary = "Lists the engines of this build.",
    .options = engines_rows,
    .options_count = ARRAY_COUNT(engines_rows),
    .run = run_engines,
};
