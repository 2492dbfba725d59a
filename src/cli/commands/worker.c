#include "engines/worker.h"
#include "base/file.h"
#include "base/nearest.h"
#include "cli/command.h"

/* Texts are borrowed: from the command line. */
struct worker_options {
    const char *python;
    const char *peak; /* NULL = a worker */
    bool is_server;
    bool is_probe;
};

static const struct option worker_rows[] = {
    {.name = "python",
     .type = OPTION_TEXT,
     .offset = offsetof(struct worker_options, python),
     .arg = "PATH",
     .max = FILE_PATH_BYTES - 1,
     .group = "Engines in Python",
     .help = "the interpreter, or a virtual environment's folder; other engines take no notice"},
    {.name = "serve",
     .type = OPTION_FLAG,
     .offset = offsetof(struct worker_options, is_server),
     .group = "Engines in Python",
     .help = "import the framework, then fork a worker for each request; standard input is a "
             "socket"},
    {.name = "peak",
     .type = OPTION_TEXT,
     .offset = offsetof(struct worker_options, peak),
     .arg = "DEVICE",
     .max = 63,
     .group = "Engines in Python",
     .help = "print one line of JSON, what the device can do at best, and stop"},
    {.name = "probe",
     .type = OPTION_FLAG,
     .offset = offsetof(struct worker_options, is_probe),
     .group = "Engines in Python",
     .help = "print one line of JSON, which interpreter it is and what it has, and stop"},
    COMMAND_HELP_ROW,
};

static const char *engine_at(unsigned index)
{
    return index < engine_list_count ? engine_list[index]->name : NULL;
}

static enum exit_code run_worker(const struct invocation *call)
{
    struct worker_options options = {0};
    struct options_seen seen;
    enum exit_code code;
    if (!command_parse(call, &options, &seen, &code))
        return code;
    const struct engine_ops *ops = engine_find(seen.operands[0]);
    if (ops == NULL) {
        const char *names[OPTIONS_MAX];
        size_t count = 0;
        for (; count < engine_list_count && count < ARRAY_COUNT(names); count++)
            names[count] = engine_list[count]->name;
        struct nearest_hint hint;
        command_complain(call, "unknown engine '%.80s'; %s", seen.operands[0],
                         nearest_hint(&hint, "", seen.operands[0], names, count));
        return EXIT_CODE_USAGE;
    }
    if (ops->become == NULL)
        return (enum exit_code)worker_main(ops);
    const struct engine_start start = {
        .python = options.python,
        .peak = options.peak,
        .is_server = options.is_server,
        .is_probe = options.is_probe,
    };
    struct err err = {0};
    if (ops->become(&start, &err) != STATUS_OK)
        command_complain(call, "%s", err.text);
    return EXIT_CODE_NOTHING;
}

const struct command command_worker = {
    .name = "worker",
    .operands = "ENGINE",
    .operands_min = 1,
    .operands_max = 1,
    .summary = "Hosts one engine and speaks the worker protocol; what a run starts.",
    .description = "Reads one JSON object per line on standard input and answers on standard "
                   "output (docs/protocol.md). Useful by hand only to try the protocol out.",
    .options = worker_rows,
    .options_count = ARRAY_COUNT(worker_rows),
    .operand_at = engine_at,
    .run = run_worker,
};
