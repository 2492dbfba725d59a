#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "cli/command.h"
#include "cli/render/completion.h"
#include "cli/render/help.h"
#include "cli/render/man.h"
#include "cli/run_options.h"
#include "spec/cell.h"

/* --- the tables themselves: nothing here knows a flag by name, so a new row is covered --- */

static void check_row(const struct command *command, const struct option *row)
{
    cr_assert_not_null(row->name, "%s", command->name);
    cr_assert_not_null(row->group, "%s --%s", command->name, row->name);
    cr_assert_not_null(row->help, "%s --%s", command->name, row->name);
    cr_assert_gt(strlen(row->help), 5, "%s --%s", command->name, row->name);
    bool takes_value = row->type != OPTION_FLAG && row->type != OPTION_HELP;
    cr_assert_eq(row->arg != NULL, takes_value, "%s --%s", command->name, row->name);
    cr_assert_leq(row->min, row->max, "%s --%s", command->name, row->name);
    if (row->type == OPTION_CHOICE || row->type == OPTION_CHOICES)
        cr_assert_not_null(row->choices, "%s --%s", command->name, row->name);
    if (row->type == OPTION_WORDS)
        cr_assert_null(row->def, "%s --%s", command->name, row->name);
    if (row->type == OPTION_AXIS)
        cr_assert(row->max > 0 && row->max <= UINT32_MAX, "%s --%s", command->name, row->name);
}

Test(cli_options, every_row_is_whole_and_no_two_share_a_name)
{
    for (unsigned c = 0; c < command_list_count; c++) {
        const struct command *command = command_list[c];
        cr_assert_leq(command->options_count, OPTIONS_MAX);
        for (size_t i = 0; i < command->options_count; i++) {
            check_row(command, &command->options[i]);
            for (size_t j = 0; j < i; j++) {
                const struct option *a = &command->options[i], *b = &command->options[j];
                cr_assert_str_neq(a->name, b->name);
                cr_assert(a->short_name == 0 || a->short_name != b->short_name, "-%c",
                          a->short_name);
            }
        }
    }
}

Test(cli_options, every_default_is_a_value_that_a_user_could_give)
{
    for (unsigned p = 0; p < program_list_count; p++) {
        struct run_options options = {0};
        struct options_table table = command_options(&command_run, &program_list[p]);
        struct err err = {0};
        cr_assert_eq(options_set_defaults(&table, &options, &err), STATUS_OK, "%s: %s",
                     program_list[p].name, err.text);
        const struct option_default *other = program_list[p].defaults;
        for (; other != NULL && other->name != NULL; other++) {
            bool is_there = false;
            for (size_t i = 0; i < table.rows_count; i++)
                is_there |= strcmp(table.rows[i].name, other->name) == 0;
            cr_assert(is_there, "%s: default of an unknown flag %s", program_list[p].name,
                      other->name);
        }
    }
}

/* Rows of another command: those named are flags, in help, completion and man page alike. */
Test(cli_options, flags_of_a_base_command)
{
    struct options_table table = command_options(&command_ab, &program_list[0]);
    cr_assert_eq(options_rows_count(&table), command_ab.options_count + command_run.options_count);
    cr_assert_leq(options_rows_count(&table), OPTIONS_MAX);
    for (const char *const *name = command_ab.base_names; *name != NULL; name++) {
        bool is_found = false;
        for (size_t i = command_ab.options_count; i < options_rows_count(&table); i++) {
            const struct option *row = options_row(&table, i);
            is_found |= strcmp(*name, row->name) == 0 || strcmp(*name, row->group) == 0;
        }
        cr_assert(is_found, "'%s' is neither a flag nor a section", *name);
    }

    struct buf help, completion;
    buf_init(&help, HELP_BYTES_MAX);
    buf_init(&completion, COMPLETION_BYTES_MAX);
    help_command(&command_ab, &program_list[0], &help);
    completion_script(COMPLETION_BASH, &completion);
    cr_assert_not_null(strstr(help.data, "--seq N"));
    cr_assert_null(strstr(help.data, "--zip"));
    cr_assert_not_null(strstr(completion.data, "ab--seq)"));
    cr_assert_null(strstr(completion.data, "ab--steps)"));
    buf_release(&help);
    buf_release(&completion);

    struct {
        struct run_options run;
        char rest[512];
    } options = {0};
    struct options_seen seen;
    struct err err = {0};
    const char *words[] = {"--a", "--seq 7", "--seq", "32", "--threads", "2"};
    cr_assert_eq(options_set_defaults(&table, &options, &err), STATUS_OK, "%s", err.text);
    cr_assert_eq(options_parse(&table, 6, words, &options, &seen, &err), STATUS_OK, "%s", err.text);
    cr_assert_eq(options.run.seq_lens.count, 1);
    cr_assert_eq(options.run.seq_lens.values[0], 32);
    cr_assert_eq(options.run.cell.threads_count, 2);
    cr_assert(options_given(&table, &seen, "threads"));
    cr_assert_not(options_given(&table, &seen, "batch"));
    words[0] = "--resume";
    cr_assert_eq(options_parse(&table, 1, words, &options, &seen, &err), STATUS_INVALID);
}

static void check_columns(const char *what, const char *text)
{
    for (const char *line = text; *line != '\0';) {
        size_t length = strcspn(line, "\n");
        cr_assert_leq(length, HELP_COLUMNS, "%s: %.*s", what, (int)length, line);
        line += length + (line[length] == '\n' ? 1 : 0);
    }
}

/* "--seq" followed by something that cannot go on with the name. */
static bool mentions_flag(const char *text, const char *name)
{
    char flag[OPTION_WORD_BYTES];
    (void)snprintf(flag, sizeof(flag), "--%s", name);
    for (const char *at = strstr(text, flag); at != NULL; at = strstr(at + 1, flag))
        if (strchr(" \n\t',):", at[strlen(flag)]) != NULL)
            return true;
    return false;
}

Test(cli_options, help_man_and_completion_tell_of_every_flag)
{
    struct buf man, completions[COMPLETION_SHELLS_COUNT];
    buf_init(&man, MAN_BYTES_MAX);
    man_page(&man);
    cr_assert(!man.failed);
    for (size_t i = 0; i < COMPLETION_SHELLS_COUNT; i++) {
        buf_init(&completions[i], COMPLETION_BYTES_MAX);
        completion_script((enum completion_shell)i, &completions[i]);
        cr_assert(!completions[i].failed);
    }
    for (unsigned p = 0; p < program_list_count; p++) {
        for (unsigned c = 0; c < command_list_count; c++) {
            const struct program *program = &program_list[p];
            const struct command *command = command_list[c];
            if (program->command != NULL && strcmp(program->command, command->name) != 0)
                continue;
            struct options_table table = command_options(command, program);
            struct buf help;
            buf_init(&help, HELP_BYTES_MAX);
            help_command(command, program, &help);
            check_columns(command->name, help.data);
            for (size_t i = 0; i < command->options_count; i++) {
                const struct option *row = &command->options[i];
                bool is_known = option_is_known(&table, row);
                cr_assert_eq(mentions_flag(help.data, row->name), is_known, "%s %s --%s",
                             program->name, command->name, row->name);
                for (size_t k = 0; k < COMPLETION_SHELLS_COUNT; k++)
                    cr_assert(mentions_flag(completions[k].data, row->name), "%s", row->name);
            }
            buf_release(&help);
        }
    }
    for (size_t i = 0; i < command_run.options_count; i++) {
        const struct option *row = &command_run.options[i];
        char roff[2 * OPTION_WORD_BYTES] = "\\fB\\-\\-";
        for (const char *c = row->name; *c != '\0'; c++) {
            size_t length = strlen(roff);
            (void)snprintf(roff + length, sizeof(roff) - length, "%s%c", *c == '-' ? "\\" : "", *c);
        }
        cr_assert(row->type == OPTION_HELP || strstr(man.data, roff) != NULL, "%s", row->name);
    }
    buf_release(&man);
    for (size_t i = 0; i < COMPLETION_SHELLS_COUNT; i++)
        buf_release(&completions[i]);
}

Test(cli_options, the_overview_names_every_command_and_exit_code)
{
    struct buf help;
    buf_init(&help, HELP_BYTES_MAX);
    help_overview(&help);
    check_columns("help", help.data);
    for (unsigned c = 0; c < command_list_count; c++)
        cr_assert_not_null(strstr(help.data, command_list[c]->name));
#define X(name, code, text) cr_assert_not_null(strstr(help.data, text));
    EXIT_CODE_MAP(X)
#undef X
    buf_release(&help);
}

/* --- reading --- */

#define WORDS(...) ((const char *const[]){__VA_ARGS__})
#define PARSE(program_index, options, seen, err, ...)                                  \
    parse_run(program_index, (int)(sizeof(WORDS(__VA_ARGS__)) / sizeof(const char *)), \
              WORDS(__VA_ARGS__), options, seen, err)

static enum status parse_run(unsigned program_index, int argc, const char *const *argv,
                             struct run_options *options, struct options_seen *seen,
                             struct err *err)
{
    struct options_table table = command_options(&command_run, &program_list[program_index]);
    *options = (struct run_options){0};
    *seen = (struct options_seen){0};
    *err = (struct err){0};
    cr_assert_eq(options_set_defaults(&table, options, err), STATUS_OK);
    return options_parse(&table, argc, argv, options, seen, err);
}

static void check_axis(const struct plan_axis *axis, size_t count, const uint32_t *values)
{
    cr_assert_eq(axis->count, count, "%zu", axis->count);
    for (size_t i = 0; i < count; i++)
        cr_assert_eq(axis->values[i], values[i], "%zu: %u", i, axis->values[i]);
}

/* The published scripts' defaults (DESIGN, section 4). */
Test(cli_options, published_names_have_the_published_defaults)
{
    struct run_options options;
    struct options_seen seen;
    struct err err;
    cr_assert_str_eq(program_list[1].name, "bench_pytorch");
    cr_assert_eq(PARSE(1, &options, &seen, &err, "--zip"), STATUS_OK, "%s", err.text);
    cr_assert_str_eq(options.engine, "pytorch");
    cr_assert_str_eq(options.model, "superintelligence");
    cr_assert_str_eq(options.device, "cuda:0");
    cr_assert_str_eq(options.out, "_bench");
    cr_assert_eq(options.steps, 400);
    cr_assert_eq(options.warmup, 20);
    check_axis(&options.seq_lens, 3, (uint32_t[]){128, 512, 2048});
    check_axis(&options.batch_sizes, 2, (uint32_t[]){8, 32});
    cr_assert_eq(options.precisions.count, 1);
    cr_assert_eq(options.precisions.values[0], CELL_PRECISION_BF16);
    cr_assert_eq(options.modes.count, 2);
    cr_assert_eq(options.modes.values[0], CELL_MODE_TRAIN);
    cr_assert_eq(options.modes.values[1], CELL_MODE_INFER);

    cr_assert_str_eq(program_list[2].name, "bench_jax");
    cr_assert_eq(PARSE(2, &options, &seen, &err, "--zip"), STATUS_OK, "%s", err.text);
    cr_assert_str_eq(options.engine, "jax");
    cr_assert_str_eq(options.platform, "gpu");
    cr_assert_null(options.device);
    cr_assert_str_eq(options.out, "_bench_jax");
    cr_assert_eq(options.steps, 400);
    check_axis(&options.seq_lens, 3, (uint32_t[]){128, 512, 2048});
}

Test(cli_options, lists_take_words_commas_and_ranges_and_replace_the_default)
{
    struct run_options options;
    struct options_seen seen;
    struct err err;
    cr_assert_eq(PARSE(0, &options, &seen, &err, "--seq", "128", "512", "1024-4096*2", "--mode",
                       "decode,train", "--batch=1", "2", "--resume"),
                 STATUS_OK, "%s", err.text);
    check_axis(&options.seq_lens, 5, (uint32_t[]){128, 512, 1024, 2048, 4096});
    check_axis(&options.batch_sizes, 2, (uint32_t[]){1, 2});
    cr_assert_eq(options.modes.count, 2);
    cr_assert_eq(options.modes.values[0], CELL_MODE_DECODE);
    cr_assert_eq(options.modes.values[1], CELL_MODE_TRAIN);
    cr_assert_eq(options.resume, RUN_RESUME_UNFINISHED);
    cr_assert(!options.wants_zip);
    cr_assert_eq(PARSE(0, &options, &seen, &err, "--resume=unsteady"), STATUS_OK, "%s", err.text);
    cr_assert_eq(options.resume, RUN_RESUME_UNSTEADY);
    /* without '=' the next word is none of its own */
    cr_assert_eq(PARSE(0, &options, &seen, &err, "--resume", "unsteady"), STATUS_OK);
    cr_assert_eq(options.resume, RUN_RESUME_UNFINISHED);
    cr_assert_eq(seen.operands_count, 1);
    cr_assert_eq(PARSE(0, &options, &seen, &err, "--zip"), STATUS_OK);
    cr_assert_eq(options.resume, RUN_RESUME_NO);
    /* given twice, a list adds; without repeats */
    cr_assert_eq(PARSE(0, &options, &seen, &err, "--seq", "64", "--mode", "infer", "--seq", "32",
                       "64", "--mode", "infer"),
                 STATUS_OK, "%s", err.text);
    check_axis(&options.seq_lens, 2, (uint32_t[]){64, 32});
    cr_assert_eq(options.modes.count, 1);
}

Test(cli_options, of_a_scalar_given_twice_the_last_one_counts)
{
    struct run_options options;
    struct options_seen seen;
    struct err err;
    cr_assert_eq(PARSE(0, &options, &seen, &err, "--steps", "5", "--out", "a", "--steps=7",
                       "--out=b", "--warmup", "3", "--warmup", "auto"),
                 STATUS_OK, "%s", err.text);
    cr_assert_eq(options.steps, 7);
    cr_assert_str_eq(options.out, "b");
    cr_assert_eq(options.warmup, RUN_WARMUP_AUTO);
}

Test(cli_options, two_dashes_end_the_flags_and_equals_gives_a_dashed_value)
{
    struct run_options options;
    struct options_seen seen;
    struct err err;
    cr_assert_eq(PARSE(0, &options, &seen, &err, "--launch=-n 1", "--", "--seq", "-q"), STATUS_OK,
                 "%s", err.text);
    cr_assert_str_eq(options.launch, "-n 1");
    cr_assert_eq(seen.operands_count, 2);
    cr_assert_str_eq(seen.operands[0], "--seq");
    cr_assert(!options.is_quiet);
    check_axis(&options.seq_lens, 1, (uint32_t[]){128});
}

Test(cli_options, values_with_units_and_words)
{
    struct run_options options;
    struct options_seen seen;
    struct err err;
    cr_assert_eq(PARSE(0, &options, &seen, &err, "--max-time", "250ms", "--target-ci", "0.5",
                       "--memory-limit", "1GiB", "--threads", "3", "-q", "--set", "dim=64", "--set",
                       "layers_count=2"),
                 STATUS_OK, "%s", err.text);
    cr_assert_eq(options.max_time_ns, 250000000);
    cr_assert_float_eq(options.target_ci_percent, 0.5, 1e-12);
    cr_assert_eq(options.memory_limit_bytes, 1073741824);
    cr_assert_eq(options.cell.threads_count, 3);
    cr_assert(options.is_quiet);
    cr_assert_eq(options.settings.count, 2);
    cr_assert_str_eq(options.settings.items[1], "layers_count=2");
}

Test(cli_options, wrong_words_are_refused_with_the_nearest)
{
    static const struct {
        const char *words[3];
        const char *nearest;
    } cases[] = {
        {{"--sequ", "1", NULL}, "--seq"},
        {{"--se", "1", NULL}, "--set"}, /* no abbreviations: not an ambiguous --seq */
        {{"--dry_run", NULL, NULL}, "--dry-run"},
        {{"--quiet=1", NULL, NULL}, "--quiet"},
        {{"--mode", "trainig", NULL}, "train"},
        {{"--precision", "bf16,fp33", NULL}, "fp32"},
        {{"--sync", "blok", NULL}, "block"},
        {{"--seq", "-4", NULL}, "smallest is 1"},
        {{"--seq", "128", "0"}, "smallest is 1"},
        {{"--steps", "1000000001", NULL}, "largest is 1000000000"},
        {{"--steps", "-q", NULL}, "--steps N"},
        {{"--warmup", "otto", NULL}, "auto"},
        {{"--engine", "natiev", NULL}, "native"},
        {{"--engine", "exec: ", NULL}, "exec:./my_worker"},
        {{"--device", "cpu0", NULL}, "cpu"},
        {{"--device", "cuda:x", NULL}, "'cuda'"},
        {{"--set", "=3", NULL}, "layers_count=2"},
        {{"--out", "", NULL}, "_bench"},
        {{"--platform", "gpu", NULL}, "unknown flag"}, /* bench_jax's alone */
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct run_options options;
        struct options_seen seen;
        struct err err;
        int argc = 0;
        while (argc < 3 && cases[i].words[argc] != NULL)
            argc++;
        cr_assert_neq(parse_run(0, argc, cases[i].words, &options, &seen, &err), STATUS_OK, "%s",
                      cases[i].words[0]);
        cr_assert_not_null(strstr(err.text, cases[i].nearest), "%s %s: %s", cases[i].words[0],
                           argc > 1 ? cases[i].words[1] : "", err.text);
    }
}

Test(cli_options, long_and_many_words_meet_a_limit)
{
    static char text[OPTION_VALUE_BYTES + 100];
    memset(text, 'a', sizeof(text) - 1);
    struct run_options options;
    struct options_seen seen;
    struct err err;
    cr_assert_eq(PARSE(0, &options, &seen, &err, "--model", text), STATUS_INVALID);
    cr_assert_eq(PARSE(0, &options, &seen, &err, "--mode", text), STATUS_INVALID);
    cr_assert_eq(PARSE(0, &options, &seen, &err, "--seq", text), STATUS_INVALID);
    cr_assert_eq(PARSE(0, &options, &seen, &err, text), STATUS_OK);
    const char *many[2 * OPTION_TEXTS_MAX + 2];
    for (size_t i = 0; i < ARRAY_COUNT(many); i += 2) {
        many[i] = "--set";
        many[i + 1] = "dim=64";
    }
    cr_assert_eq(parse_run(0, (int)ARRAY_COUNT(many), many, &options, &seen, &err), STATUS_LIMIT);
}
