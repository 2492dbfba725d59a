#include "cli/command.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json_write.h"
#include "base/nearest.h"
#include "cli/render/help.h"
#include "cli/run_options.h"

const struct command *const command_list[] = {
#define COMMAND(name) &command_##name,
#include "cli/commands/list.def"
};
const unsigned command_list_count = ARRAY_COUNT(command_list);

const struct program program_list[] = {
    {"tokmark", PROGRAM_TOKMARK, NULL, NULL},
    {"bench_pytorch", PROGRAM_BENCH_PYTORCH, "run", run_defaults_bench_pytorch},
    {"bench_jax", PROGRAM_BENCH_JAX, "run", run_defaults_bench_jax},
};
const unsigned program_list_count = ARRAY_COUNT(program_list);

const struct command *command_find(const char *name)
{
    for (unsigned i = 0; i < command_list_count; i++)
        if (strcmp(command_list[i]->name, name) == 0)
            return command_list[i];
    return NULL;
}

const struct program *program_find(const char *argv0)
{
    const char *slash = strrchr(argv0, '/');
    const char *name = slash != NULL ? slash + 1 : argv0;
    for (unsigned i = 0; i < program_list_count; i++)
        if (strcmp(program_list[i].name, name) == 0)
            return &program_list[i];
    return &program_list[0];
}

struct options_table command_options(const struct command *command, const struct program *program)
{
    return (struct options_table){
        .rows = command->options,
        .rows_count = command->options_count,
        .base_rows = command->base != NULL ? command->base->options : NULL,
        .base_count = command->base != NULL ? command->base->options_count : 0,
        .base_names = command->base_names,
        .defaults = program->command != NULL ? program->defaults : command->defaults,
        .program = program->bit,
    };
}

void command_title(const struct command *command, const struct program *program, struct buf *out)
{
    buf_append_text(out, program->name);
    if (program->command == NULL)
        buf_appendf(out, " %s", command->name);
}

/* Messages stay on one line and harmless to a terminal, whatever the user's words hold. */
static void print_one_line(const char *title, const char *text)
{
    fprintf(stderr, "%s: ", title);
    for (const char *c = text; *c != '\0'; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            fprintf(stderr, "\\x%02x", (unsigned)*c);
        else
            fputc(*c, stderr);
    fputc('\n', stderr);
}

void command_complain(const struct invocation *call, const char *format, ...)
{
    char text[2 * ERR_TEXT_BYTES];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    char title[128];
    struct buf out;
    buf_init(&out, sizeof(title) - 1);
    command_title(call->command, call->program, &out);
    (void)snprintf(title, sizeof(title), "%s", out.data);
    buf_release(&out);
    print_one_line(title, text);
}

void command_complain_of_notes(const struct invocation *call, const struct visit_notes *notes)
{
    if (notes->count > 0)
        command_complain(call, "%" PRIu64 " line%s no record%s: %s", notes->count,
                         notes->count == 1 ? " was" : "s were",
                         notes->count == 1 ? "" : "s; the first", notes->first);
}

void command_write_words(const struct invocation *call, struct buf *out)
{
    struct json_writer writer;
    json_writer_init(&writer, out);
    json_begin_array(&writer);
    for (int i = 0; i < call->full_argc; i++)
        json_put_string(&writer, call->full_argv[i]);
    json_end_array(&writer);
}

enum exit_code command_print(const struct invocation *call, struct buf *out)
{
    bool is_whole = !out->failed;
    if (is_whole)
        (void)fwrite(out->data, 1, out->length_bytes, stdout);
    else
        command_complain(call, "out of memory");
    buf_release(out);
    return is_whole ? EXIT_CODE_OK : EXIT_CODE_IO;
}

static bool check_operands(const struct invocation *call, const struct options_table *table,
                           const struct options_seen *seen)
{
    const struct command *command = call->command;
    if (seen->operands_count > command->operands_max) {
        const char *names[OPTIONS_MAX];
        size_t count = 0;
        for (size_t i = 0; i < options_rows_count(table); i++)
            if (option_is_known(table, options_row(table, i)))
                names[count++] = options_row(table, i)->name;
        const char *word = seen->operands[command->operands_max];
        struct nearest_hint hint;
        const char *near = nearest_word(word, names, count);
        command_complain(call, "unexpected word '%.80s'; %s", word,
                         near == NULL ? "flags begin with '--', and --help lists them"
                                      : nearest_hint(&hint, "--", word, names, count));
        return false;
    }
    if (seen->operands_count < command->operands_min) {
        command_complain(call, "needs %s; see '%s help %s'", command->operands,
                         program_list[0].name, command->name);
        return false;
    }
    return true;
}

bool command_parse(const struct invocation *call, void *options, struct options_seen *ret_seen,
                   enum exit_code *ret_code)
{
    struct options_table table = command_options(call->command, call->program);
    struct options_seen seen = {0};
    struct err err = {0};
    *ret_code = EXIT_CODE_USAGE;
    if (options_set_defaults(&table, options, &err) != STATUS_OK ||
        options_parse(&table, call->argc, call->argv, options, &seen, &err) != STATUS_OK) {
        command_complain(call, "%s", err.text);
        return false;
    }
    if (seen.wants_help) {
        struct buf out;
        buf_init(&out, HELP_BYTES_MAX);
        help_command(call->command, call->program, &out);
        *ret_code = command_print(call, &out);
        return false;
    }
    if (!check_operands(call, &table, &seen))
        return false;
    if (ret_seen != NULL)
        *ret_seen = seen;
    return true;
}

static enum exit_code unknown_command(const char *program, const char *word)
{
    char text[512];
    const char *names[32];
    ASSERT(command_list_count <= ARRAY_COUNT(names));
    for (unsigned i = 0; i < command_list_count; i++)
        names[i] = command_list[i]->name;
    struct nearest_hint hint;
    (void)snprintf(text, sizeof(text), "unknown command '%.80s'; %s", word,
                   nearest_hint(&hint, "", word, names, command_list_count));
    print_one_line(program, text);
    return EXIT_CODE_USAGE;
}

/* `tokmark --help` and `tokmark --version` are the commands of those names. */
static const char *command_word(const char *word)
{
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)
        return "help";
    return strcmp(word, "--version") == 0 ? "version" : word;
}

enum exit_code command_main(int argc, const char *const *argv)
{
    struct invocation call = {
        .program = program_find(argc > 0 ? argv[0] : "tokmark"),
        .full_argc = argc,
        .full_argv = argv,
    };
    const char *word = argc > 1 ? command_word(argv[1]) : NULL;
    /* Under a published name everything is that command's, but for what such a command takes no
     * words for: the worker that a supervisor starts from this same file, and the version. */
    bool is_direct = call.program->command != NULL &&
                     (word == NULL || strcmp(word, "worker") != 0) &&
                     (argc < 2 || strcmp(argv[1], "--version") != 0);
    if (is_direct) {
        call.command = command_find(call.program->command);
        call.argc = argc > 0 ? argc - 1 : 0;
        call.argv = argv + 1;
        return call.command->run(&call);
    }
    call.program = &program_list[0];
    if (word == NULL) {
        print_one_line(call.program->name, "needs a command; see 'tokmark help'");
        return EXIT_CODE_USAGE;
    }
    call.command = command_find(word);
    if (call.command == NULL)
        return unknown_command(call.program->name, word);
    call.argc = argc - 2;
    call.argv = argv + 2;
    return call.command->run(&call);
}
