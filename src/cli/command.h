/* cli/command.h - the commands, the names the program goes by, and its exit codes. */
#ifndef CLI_COMMAND_H
#define CLI_COMMAND_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "cli/options.h"
#include "result/visit.h"

/* Printed by --help and in the man page. */
#define EXIT_CODE_MAP(X)                                                                          \
    X(OK, 0, "every cell gave a valid result, or --resume had nothing left to do")                \
    X(GATE_FAILED, 1, "a gate failed: check, stability, SLOWER (ab) or WORSE (compare)")          \
    X(USAGE, 2, "the command line is wrong; nothing was started or written")                      \
    X(SOME_NOT_OK, 3, "some cells have no valid result (--strict: or are noisy); undecided gate") \
    X(NOTHING, 4, "nothing was measured: no cell gave a result")                                  \
    X(IO, 5, "the harness itself failed: reading, writing, lock, memory")                         \
    X(HUNG_UP, 129, "stopped by SIGHUP: the terminal was closed; results so far are saved")       \
    X(INTERRUPTED, 130, "stopped by SIGINT, Ctrl-C; results so far are saved")                    \
    X(TERMINATED, 143, "stopped by SIGTERM: kill, a time limit; results so far are saved")

enum exit_code {
#define X(name, code, text) EXIT_CODE_##name = (code),
    EXIT_CODE_MAP(X)
#undef X
};

/* The names this program is installed under; bits for `struct option`.programs. */
enum program_bit { PROGRAM_TOKMARK = 1, PROGRAM_BENCH_PYTORCH = 2, PROGRAM_BENCH_JAX = 4 };

/* Borrowed: static. */
struct program {
    const char *name; /* of the file */
    enum program_bit bit;
    const char *command;                   /* the one command it is; NULL for tokmark */
    const struct option_default *defaults; /* of that command; NULL = the rows' own */
};

struct command;

/* One call of a command. Borrowed: for the call. */
struct invocation {
    const struct command *command;
    const struct program *program;
    int argc; /* the words behind the command's name */
    const char *const *argv;
    int full_argc; /* the whole command line, for the record */
    const char *const *full_argv;
};

/* Borrowed: static. */
struct command {
    const char *name;
    const char *operands; /* in the usage line: "ENGINE"; NULL = none are taken */
    size_t operands_min, operands_max;
    const char *summary;     /* one line */
    const char *description; /* paragraphs, between them "\n\n"; may be NULL */
    const char *examples;    /* lines without the program's name; NULL = none */
    const struct option *options;
    size_t options_count;
    /* (optional) another command, those of whose flags that base_names names are flags of this one
     * too (struct options_table). */
    const struct command *base;
    const char *const *base_names;
    /* (optional) defaults of the base's flags that differ here. */
    const struct option_default *defaults;
    /* (optional) words an operand may be, for completion and "did you mean". */
    const char *(*operand_at)(unsigned index);
    enum exit_code (*run)(const struct invocation *call);
};

extern const struct command *const command_list[];
extern const unsigned command_list_count;
extern const struct program program_list[];
extern const unsigned program_list_count;

/* One per file of commands/. */
#define COMMAND(name) extern const struct command command_##name;
#include "cli/commands/list.def"

#define COMMAND_HELP_ROW                                                         \
    {                                                                            \
        .name = "help", .short_name = 'h', .type = OPTION_HELP, .group = "Help", \
        .help = "print this text and stop",                                      \
    }

/* NULL when there is none. */
const struct command *command_find(const char *name);

/* By the file name in argv[0]; tokmark for any other. */
const struct program *program_find(const char *argv0);

/* The options table of a call. */
struct options_table command_options(const struct command *command, const struct program *program);
/* "tokmark run", or "bench_pytorch". */
void command_title(const struct command *command, const struct program *program, struct buf *out);

/* Defaults and command line into `options` (zeroed by the caller). False when the call is over:
 * --help was printed, or an error, and *ret_code is the exit code. */
bool command_parse(const struct invocation *call, void *options, struct options_seen *ret_seen,
                   enum exit_code *ret_code);

/* One line on stderr, "tokmark run: TEXT", with control characters made visible. */
void command_complain(const struct invocation *call, const char *format, ...) PRINTF_LIKE(2, 3);
/* How many lines of what was read were no records, if any, and the first of them. */
void command_complain_of_notes(const struct invocation *call, const struct visit_notes *notes);
/* The whole command line as a JSON array, for records; room enough for it. */
#define COMMAND_BYTES_MAX (256 * 1024)
void command_write_words(const struct invocation *call, struct buf *out);
/* Writes the buffer to stdout. What could not be written is told, and makes the exit code, when
 * main() ends stdout. */
enum exit_code command_print(const struct invocation *call, struct buf *out);

/* Finds and runs the command; the whole program but for the end of stdout. */
enum exit_code command_main(int argc, const char *const *argv);

#endif
