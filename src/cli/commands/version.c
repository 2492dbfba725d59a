#include "base/version.h"
#include "cli/command.h"

struct version_options {
    bool unused;
};

static const struct option version_rows[] = {COMMAND_HELP_ROW};

static enum exit_code run_version(const struct invocation *call)
{
    struct version_options options = {0};
    enum exit_code code;
    if (!command_parse(call, &options, NULL, &code))
        return code;
    struct buf out;
    buf_init(&out, 4096);
    buf_appendf(&out, "%s\nbuilt by %s, %s\n", version_harness(), version_compiler(),
                version_flags());
    return command_print(call, &out);
}

const struct command command_version = {
    .name = "version",
    .summary = "Prints version, commit and build.",
    .options = version_rows,
    .options_count = ARRAY_COUNT(version_rows),
    .run = run_version,
};
