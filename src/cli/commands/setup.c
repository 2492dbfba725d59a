#include <string.h>

#include "base/nearest.h"
#include "base/words.h"
#include "cli/command.h"
#include "engines/python/interpreter.h"
#include "engines/python/python.h"

/* Borrowed: from the command line. */
struct setup_options {
    const char *python;
    const char *pip;
};

static const struct option setup_rows[] = {
    {.name = "python",
     .type = OPTION_TEXT,
     .offset = offsetof(struct setup_options, python),
     .arg = "PATH",
     .def = "python3",
     .max = FILE_PATH_BYTES - 1,
     .group = "Installation",
     .help = "the interpreter whose version the new environment has"},
    {.name = "pip",
     .type = OPTION_TEXT,
     .offset = offsetof(struct setup_options, pip),
     .arg = "WORDS",
     .max = OPTION_VALUE_BYTES,
     .group = "Installation",
     .help = "further words for pip install, such as an index of builds: --pip='--index-url URL'"},
    COMMAND_HELP_ROW,
};

static const char *engine_at(unsigned index)
{
    static const char *const engines[] = {"pytorch", "jax"};
    return index < ARRAY_COUNT(engines) ? engines[index] : NULL;
}

static enum status check_engine(const char *engine, struct err *err)
{
    const char *names[OPTIONS_MAX];
    size_t count = 0;
    for (; engine_at((unsigned)count) != NULL; count++) {
        names[count] = engine_at((unsigned)count);
        if (strcmp(names[count], engine) == 0)
            return STATUS_OK;
    }
    struct nearest_hint hint;
    return ERR(err, STATUS_INVALID, "nothing to set up for '%.80s'; %s", engine,
               nearest_hint(&hint, "", engine, names, count));
}

/* Becomes the interpreter; returns only when that fails. */
static enum status set_up(const char *engine, const struct setup_options *options,
                          struct words *words, struct err *err)
{
    char folder[FILE_PATH_BYTES];
    struct interpreter interpreter;
    enum status status = interpreter_setup_folder(engine, folder, err);
    if (status == STATUS_OK)
        status = interpreter_choose(engine, options->python, &interpreter, err);
    const char *const own[] = {"setup", engine, folder};
    for (size_t i = 0; i < ARRAY_COUNT(own) && status == STATUS_OK; i++)
        status = words_add(words, own[i], err);
    if (status == STATUS_OK && options->pip != NULL)
        status = words_split(words, options->pip, err);
    if (status == STATUS_OK)
        status = python_become(interpreter.path, (const char *const *)words->items, err);
    return status;
}

static enum exit_code run_setup(const struct invocation *call)
{
    struct setup_options options = {0};
    struct options_seen seen;
    enum exit_code code;
    if (!command_parse(call, &options, &seen, &code))
        return code;
    struct err err = {0};
    if (check_engine(seen.operands[0], &err) != STATUS_OK) {
        command_complain(call, "%s", err.text);
        return EXIT_CODE_USAGE;
    }
    struct words words;
    words_init(&words);
    enum status status = set_up(seen.operands[0], &options, &words, &err);
    words_release(&words);
    command_complain(call, "%s", err.text);
    return status == STATUS_INVALID ? EXIT_CODE_USAGE : EXIT_CODE_NOTHING;
}

const struct command command_setup = {
    .name = "setup",
    .operands = "ENGINE",
    .operands_min = 1,
    .operands_max = 1,
    .summary = "Makes a Python environment that has what an engine needs.",
    .description = "A virtual environment in $XDG_DATA_HOME/tokmark/ENGINE (under ~/.local/share "
                   "without that variable), made with pip. A run takes it when no other "
                   "interpreter is asked for or active. Where the machine has no NVIDIA driver, a "
                   "CPU build of PyTorch is taken if pip is configured to find one. Prints the new "
                   "interpreter's path.",
    .examples = "pytorch\njax --python python3.12",
    .options = setup_rows,
    .options_count = ARRAY_COUNT(setup_rows),
    .operand_at = engine_at,
    .run = run_setup,
};
