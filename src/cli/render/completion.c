#include "cli/render/completion.h"

#include <string.h>

#include "base/nearest.h"
#include "cli/command.h"

#define HELP_SHOWN_BYTES 72 /* of a flag's help */

struct completion_options {
    bool unused;
};

static const struct option completion_rows[] = {COMMAND_HELP_ROW};

static const char *const shell_names[COMPLETION_SHELLS_COUNT] = {"bash", "zsh", "fish"};

static const char *shell_at(unsigned index)
{
    return index < ARRAY_COUNT(shell_names) ? shell_names[index] : NULL;
}

/* --- what is the same for every shell: tables of words, in its syntax --- */

/* 'text', with what ends or changes a quoted text escaped. */
static void append_quoted(enum completion_shell shell, const char *text, size_t bytes,
                          struct buf *out)
{
    buf_append_char(out, '\'');
    for (size_t i = 0; i < bytes; i++) {
        if (text[i] == '\'')
            buf_append_text(out, shell == COMPLETION_FISH ? "\\'" : "'\\''");
        else if (text[i] == '\\' && shell == COMPLETION_FISH)
            buf_append_text(out, "\\\\");
        else
            buf_append_char(out, text[i]);
    }
    buf_append_char(out, '\'');
}

static void begin_table(enum completion_shell shell, const char *name, struct buf *out)
{
    if (shell == COMPLETION_FISH)
        buf_appendf(out, "function _tokmark_%s --no-scope-shadowing\n    switch $argv[1]\n", name);
    else
        buf_appendf(out, "_tokmark_%s()\n{\n    case \"$1\" in\n", name);
}

/* The key is made of `command` and up to two flags: "run--quiet" and "run-q". */
static void begin_case(enum completion_shell shell, const char *command, const struct option *row,
                       struct buf *out)
{
    const char *between = shell == COMPLETION_FISH ? " " : "|";
    buf_append_text(out, shell == COMPLETION_FISH ? "        case " : "    ");
    buf_appendf(out, "%s%s%s", command, row != NULL ? "--" : "", row != NULL ? row->name : "");
    if (row != NULL && row->short_name != 0)
        buf_appendf(out, "%s%s-%c", between, command, row->short_name);
    buf_append_text(out, shell == COMPLETION_FISH ? "\n            " : ") ");
}

static void end_case(enum completion_shell shell, struct buf *out)
{
    buf_append_text(out, shell == COMPLETION_FISH ? "\n" : ";;\n");
}

/* fish's `set` leaves the status as it was. */
static void end_table(enum completion_shell shell, struct buf *out)
{
    buf_append_text(out, shell == COMPLETION_FISH ? "        case '*'\n            return 1\n"
                                                    "    end\n    return 0\nend\n"
                                                  : "    *) return 1 ;;\n    esac\n}\n");
}

static void append_variable(enum completion_shell shell, const char *name, const char *value,
                            struct buf *out)
{
    if (shell == COMPLETION_FISH)
        buf_appendf(out, "set %s %s; ", name, value);
    else
        buf_appendf(out, "%s=%s ", name, value);
}

/* found='a b c'; in fish a list. */
static void append_found(enum completion_shell shell, const struct buf *words, struct buf *out)
{
    if (shell == COMPLETION_FISH)
        buf_appendf(out, "set found %s; ", words->data);
    else
        buf_appendf(out, "found='%s' ", words->data);
}

/* The words a value may be. */
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

static void append_value(enum completion_shell shell, const struct command *command,
                         const struct option *row, struct buf *out)
{
    bool is_path = strcmp(row->arg, "FILE") == 0 || strcmp(row->name, "model") == 0;
    bool is_folder = strcmp(row->arg, "DIR") == 0;
    struct buf words;
    buf_init(&words, COMPLETION_BYTES_MAX);
    append_words(row, &words);
    begin_case(shell, command->name, row, out);
    if (words.length_bytes > 0)
        append_found(shell, &words, out);
    if (is_path || is_folder)
        append_variable(shell, "paths", is_path ? "files" : "folders", out);
    append_variable(shell, "takes",
                    row->bare != NULL     ? "equals"
                    : option_is_list(row) ? "list"
                                          : "one",
                    out);
    end_case(shell, out);
    buf_release(&words);
}

/* Every flag that takes a value. */
static void append_values(enum completion_shell shell, struct buf *out)
{
    begin_table(shell, "values", out);
    for (unsigned c = 0; c < command_list_count; c++) {
        struct options_table table = command_options(command_list[c], &program_list[0]);
        for (unsigned i = 0; i < program_list_count; i++)
            table.program |= (unsigned)program_list[i].bit;
        for (size_t i = 0; i < options_rows_count(&table); i++) {
            const struct option *row = options_row(&table, i);
            if (row->arg != NULL && option_is_known(&table, row))
                append_value(shell, command_list[c], row, out);
        }
    }
    end_table(shell, out);
}

/* The first clause of a flag's help. */
static size_t help_bytes(const char *help)
{
    size_t bytes = strcspn(help, ";");
    if (bytes <= HELP_SHOWN_BYTES)
        return bytes;
    for (bytes = HELP_SHOWN_BYTES; bytes > 0 && help[bytes] != ' ';)
        bytes--;
    return bytes;
}

/* --flag, for zsh '--flag:help', for fish a line of both. */
static void append_flag(enum completion_shell shell, const struct option *row, struct buf *out)
{
    struct buf text;
    buf_init(&text, COMPLETION_BYTES_MAX);
    buf_appendf(&text, "--%s", row->name);
    if (shell == COMPLETION_BASH) {
        buf_appendf(out, "%s ", text.data);
    } else {
        buf_appendf(&text, "%s%.*s", shell == COMPLETION_FISH ? "\t" : ":",
                    (int)help_bytes(row->help), row->help);
        append_quoted(shell, text.data, text.length_bytes, out);
        buf_append_char(out, ' ');
    }
    buf_release(&text);
}

static void append_flags_of(enum completion_shell shell, const char *name,
                            const struct options_table *table, struct buf *out)
{
    begin_case(shell, name, NULL, out);
    buf_append_text(out, shell == COMPLETION_FISH  ? "set found "
                         : shell == COMPLETION_ZSH ? "flags=( "
                                                   : "found='");
    for (size_t i = 0; i < options_rows_count(table); i++)
        if (option_is_known(table, options_row(table, i)))
            append_flag(shell, options_row(table, i), out);
    buf_append_text(out, shell == COMPLETION_FISH ? "" : shell == COMPLETION_ZSH ? ") " : "' ");
    end_case(shell, out);
}

/* The flags of every command, and of the program's other names. */
static void append_flags(enum completion_shell shell, struct buf *out)
{
    begin_table(shell, "flags", out);
    for (unsigned i = 0; i < program_list_count; i++) {
        const struct program *program = &program_list[i];
        if (program->command == NULL)
            continue;
        struct options_table table = command_options(command_find(program->command), program);
        append_flags_of(shell, program->name, &table, out);
    }
    for (unsigned i = 0; i < command_list_count; i++) {
        struct options_table table = command_options(command_list[i], &program_list[0]);
        append_flags_of(shell, command_list[i]->name, &table, out);
    }
    end_table(shell, out);
}

/* The commands, and what they may be about. */
static void append_operands(enum completion_shell shell, struct buf *out)
{
    struct buf words;
    buf_init(&words, COMPLETION_BYTES_MAX);
    for (unsigned i = 0; i < command_list_count; i++)
        buf_appendf(&words, "%s%s", i > 0 ? " " : "", command_list[i]->name);
    begin_table(shell, "operands", out);
    begin_case(shell, "command", NULL, out);
    append_found(shell, &words, out);
    end_case(shell, out);
    for (unsigned i = 0; i < command_list_count; i++) {
        const struct command *command = command_list[i];
        bool takes_paths = command->operands != NULL && strstr(command->operands, "DIR") != NULL;
        if (command->operand_at == NULL && !takes_paths)
            continue;
        buf_reset(&words);
        for (unsigned j = 0; command->operand_at != NULL && command->operand_at(j) != NULL; j++)
            buf_appendf(&words, "%s%s", j > 0 ? " " : "", command->operand_at(j));
        begin_case(shell, command->name, NULL, out);
        if (words.length_bytes > 0)
            append_found(shell, &words, out);
        if (takes_paths)
            append_variable(shell, "paths", "files", out);
        end_case(shell, out);
    }
    end_table(shell, out);
    buf_release(&words);
}

/* --- what each shell does with them: finds the flag whose value is being typed --- */

static const char bash_driver[] =
    "_tokmark()\n"
    "{\n"
    "    local current=\"${COMP_WORDS[COMP_CWORD]}\" program=\"${COMP_WORDS[0]##*/}\"\n"
    "    local command=command flag='' found='' paths='' takes='' equals='' first=1 at=0 i\n"
    "    if [ \"$program\" != tokmark ]; then\n"
    "        command=run first=0\n"
    "    elif [ \"$COMP_CWORD\" -gt 1 ]; then\n"
    "        command=\"${COMP_WORDS[1]}\" program=\"$command\"\n"
    "    fi\n"
    "    for ((i = COMP_CWORD - 1; i > first; i--)); do\n"
    "        case \"${COMP_WORDS[i]}\" in\n"
    "        --* | -[a-z]) flag=\"${COMP_WORDS[i]}\" at=$i; break ;;\n"
    "        esac\n"
    "    done\n"
    "    # bash splits --flag=value at the '='\n"
    "    if [ \"$at\" -gt 0 ] && [ \"${COMP_WORDS[at + 1]}\" = '=' ]; then\n"
    "        at=$((at + 1)) equals=yes\n"
    "    fi\n"
    "    if [ \"$current\" = '=' ]; then current='' at=$((COMP_CWORD - 1)); fi\n"
    "    COMPREPLY=()\n"
    "    case \"$current\" in\n"
    "    -*) _tokmark_flags \"$program\" ;;\n"
    "    *)\n"
    "        if [ -z \"$flag\" ] || ! _tokmark_values \"$command$flag\" ||\n"
    "            { [ \"$takes\" = one ] && [ $((at + 1)) -lt \"$COMP_CWORD\" ]; } ||\n"
    "            { [ \"$takes\" = equals ] && [ -z \"$equals\" ]; }; then\n"
    "            found='' paths=''\n"
    "            _tokmark_operands \"$command\"\n"
    "        fi\n"
    "        ;;\n"
    "    esac\n"
    "    COMPREPLY=($(compgen -W \"$found\" -- \"$current\"))\n"
    "    case \"$paths\" in\n"
    "    files) COMPREPLY+=($(compgen -f -- \"$current\")) ;;\n"
    "    folders) COMPREPLY+=($(compgen -d -- \"$current\")) ;;\n"
    "    esac\n"
    "}\n"
    "complete -F _tokmark tokmark bench_pytorch bench_jax\n";

static const char zsh_driver[] =
    "_tokmark()\n"
    "{\n"
    "    local current=\"${words[CURRENT]}\" program=\"${words[1]:t}\"\n"
    "    local command=command flag='' found='' paths='' takes='' equals='' first=2 at=0 i\n"
    "    local -a flags\n"
    "    if [[ $program != tokmark ]]; then\n"
    "        command=run first=1\n"
    "    elif ((CURRENT > 2)); then\n"
    "        command=\"${words[2]}\" program=\"${words[2]}\"\n"
    "    fi\n"
    "    for ((i = CURRENT - 1; i > first; i--)); do\n"
    "        case \"${words[i]}\" in\n"
    "        --* | -[a-z]) flag=\"${words[i]%%=*}\" at=$i; break ;;\n"
    "        esac\n"
    "    done\n"
    "    case \"$current\" in\n"
    "    --*=*) flag=\"${current%%=*}\" at=$((CURRENT - 1)) equals=yes; compset -P '*=' ;;\n"
    "    -*)\n"
    "        _tokmark_flags \"$program\" && _describe -o flag flags\n"
    "        return\n"
    "        ;;\n"
    "    esac\n"
    "    if [[ -z $flag ]] || ! _tokmark_values \"$command$flag\" ||\n"
    "        { [[ $takes = one ]] && ((at + 1 < CURRENT)); } ||\n"
    "        [[ $takes = equals && -z $equals ]]; then\n"
    "        found='' paths=''\n"
    "        _tokmark_operands \"$command\"\n"
    "    fi\n"
    "    [[ -n $found ]] && compadd -- ${=found}\n"
    "    case \"$paths\" in\n"
    "    files) _files ;;\n"
    "    folders) _files -/ ;;\n"
    "    esac\n"
    "}\n"
    "# read by `source`, or from a folder of $fpath\n"
    "if [[ $funcstack[1] = _tokmark ]]; then\n"
    "    _tokmark\n"
    "else\n"
    "    compdef _tokmark tokmark bench_pytorch bench_jax\n"
    "fi\n";

static const char fish_driver[] =
    "function _tokmark_complete\n"
    "    set -l before (commandline -opc)\n"
    "    set -l current (commandline -ct)\n"
    "    set -l program (string replace -r '.*/' '' -- $before[1])\n"
    "    set -l command command\n"
    "    set -l found\n"
    "    set -l paths\n"
    "    set -l takes\n"
    "    set -l equals no\n"
    "    set -l flag\n"
    "    set -l first 2\n"
    "    set -l at 0\n"
    "    if test $program != tokmark\n"
    "        set command run\n"
    "        set first 1\n"
    "    else if test (count $before) -gt 1\n"
    "        set command $before[2]\n"
    "        set program $before[2]\n"
    "    end\n"
    "    for i in (seq (count $before) -1 (math $first + 1))\n"
    "        if string match -qr -- '^(--.*|-[a-z])$' $before[$i]\n"
    "            set flag (string replace -r '=.*' '' -- $before[$i])\n"
    "            set at $i\n"
    "            break\n"
    "        end\n"
    "    end\n"
    "    set -l prefix ''\n"
    "    if string match -q -- '--*=*' $current\n"
    "        set flag (string replace -r '=.*' '' -- $current)\n"
    "        set at (count $before)\n"
    "        set prefix $flag=\n"
    "        set equals yes\n"
    "    else if string match -q -- '-*' $current\n"
    "        _tokmark_flags $program; and printf '%s\\n' $found\n"
    "        return\n"
    "    end\n"
    "    if test -z \"$flag\"; or not _tokmark_values $command$flag\n"
    "        or test \"$takes\" = one -a $at -lt (count $before)\n"
    "        or test \"$takes\" = equals -a $equals = no\n"
    "        set found\n"
    "        set paths\n"
    "        _tokmark_operands $command\n"
    "    end\n"
    "    set -q found[1]; and printf '%s\\n' $prefix$found\n"
    "    switch \"$paths\"\n"
    "        case files\n"
    "            __fish_complete_path $current\n"
    "        case folders\n"
    "            __fish_complete_directories $current\n"
    "    end\n"
    "end\n"
    "for program in tokmark bench_pytorch bench_jax\n"
    "    complete -c $program -f -a '(_tokmark_complete)'\n"
    "end\n";

void completion_script(enum completion_shell shell, struct buf *out)
{
    static const char *const drivers[] = {bash_driver, zsh_driver, fish_driver};
    if (shell == COMPLETION_ZSH)
        buf_append_text(out, "#compdef tokmark bench_pytorch bench_jax\n");
    buf_appendf(out,
                "# %s completion for tokmark, bench_pytorch and bench_jax.\n"
                "# Made by `tokmark completion %s` from its option tables.\n",
                shell_names[shell], shell_names[shell]);
    append_values(shell, out);
    append_flags(shell, out);
    append_operands(shell, out);
    buf_append_text(out, drivers[shell]);
}

static enum exit_code run_completion(const struct invocation *call)
{
    struct completion_options options = {0};
    struct options_seen seen;
    enum exit_code code;
    if (!command_parse(call, &options, &seen, &code))
        return code;
    const char *word = seen.operands[0];
    struct buf out;
    buf_init(&out, COMPLETION_BYTES_MAX);
    for (size_t i = 0; i < ARRAY_COUNT(shell_names); i++)
        if (strcmp(shell_names[i], word) == 0)
            completion_script((enum completion_shell)i, &out);
    if (out.length_bytes > 0 || out.failed)
        return command_print(call, &out);
    struct nearest_hint hint;
    command_complain(call, "unknown shell '%.80s'; %s", word,
                     nearest_hint(&hint, "", word, shell_names, ARRAY_COUNT(shell_names)));
    return EXIT_CODE_USAGE;
}

const struct command command_completion = {
    .name = "completion",
    .operands = "SHELL",
    .operands_min = 1,
    .operands_max = 1,
    .summary = "Prints a completion script for bash, zsh or fish.",
    .description = "In bash and zsh load it with: source <(tokmark completion SHELL); in fish "
                   "with: tokmark completion fish | source. For every session put it into "
                   "/usr/share/bash-completion/completions/tokmark, as _tokmark into a folder of "
                   "zsh's $fpath, or into ~/.config/fish/completions/tokmark.fish.",
    .examples = "bash\nzsh\nfish",
    .options = completion_rows,
    .options_count = ARRAY_COUNT(completion_rows),
    .operand_at = shell_at,
    .run = run_completion,
};
