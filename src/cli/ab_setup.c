#include "cli/ab_setup.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/num.h"
#include "proto/message.h"

/* How it is measured is the same on both sides; what and on what may differ. */
const char *const ab_common_names[] = {
    RUN_GROUP_WHAT, RUN_GROUP_SWEEP, "warmup",       "sync",  "threads", "timeout", "memory-limit",
    "launch",       "fresh",         "foreign-load", "quiet", "help",    NULL};

static const char *const side_names[] = {RUN_GROUP_WHAT, RUN_GROUP_SWEEP, "threads", "timeout",
                                         "memory-limit", "launch",        "fresh",   NULL};

#define TARGET(member) .offset = offsetof(struct ab_side_options, member)

static const struct option side_rows[] = {
    {.name = "binary",
     .type = OPTION_TEXT,
     TARGET(binary),
     .arg = "PATH",
     .max = FILE_PATH_BYTES - 1,
     .group = "Whose code",
     .help = "another tokmark program, for its worker"},
    {.name = "rev",
     .type = OPTION_TEXT,
     TARGET(rev),
     .arg = "REV",
     .max = 200,
     .group = "Whose code",
     .help = "a revision of the git repository that the current folder is in"},
};

const struct command ab_side_command = {
    .name = "ab",
    .options = side_rows,
    .options_count = ARRAY_COUNT(side_rows),
    .base = &command_run,
    .base_names = side_names,
};

/* --- one side --- */

/* Which of run's flags were given, among the common ones or in the side's words. */
static void merge_seen(const struct options_table *common, const struct options_seen *common_seen,
                       const struct options_table *side, const struct options_seen *side_seen,
                       struct options_seen *ret_seen)
{
    for (size_t i = 0; i < command_run.options_count; i++)
        ret_seen->is_given[i] = common_seen->is_given[common->rows_count + i] ||
                                side_seen->is_given[side->rows_count + i];
}

static enum status take_words(struct ab_side *side, const char *flags,
                              const struct options_table *table, struct options_seen *ret_seen,
                              struct err *err)
{
    enum status status = flags != NULL ? words_split(&side->words, flags, err) : STATUS_OK;
    if (status == STATUS_OK)
        status =
            options_parse(table, (int)side->words.count, (const char *const *)side->words.items,
                          &side->options, ret_seen, err);
    if (status == STATUS_OK && ret_seen->operands_count > 0)
        status = ERR(err, STATUS_INVALID, "unexpected word '%.80s'; flags begin with '--'",
                     ret_seen->operands[0]);
    return status;
}

static enum status take_binary(struct ab_side *side, struct err *err)
{
    const char *path = side->options.binary;
    if (path == NULL)
        return STATUS_OK;
    if (side->run.ops == NULL)
        return ERR(err, STATUS_INVALID,
                   "--binary has no use with '%.60s': the command names its "
                   "own program",
                   side->options.run.engine);
    struct stat info;
    char *real = realpath(path, NULL);
    enum status status = STATUS_OK;
    if (real == NULL || stat(real, &info) != 0)
        status =
            ERR(err, STATUS_INVALID, "--binary: cannot read '%.200s': %s", path, strerror(errno));
    else if (!S_ISREG(info.st_mode) || access(real, X_OK) != 0 || strlen(real) >= FILE_PATH_BYTES)
        status = ERR(err, STATUS_INVALID, "--binary: '%.200s' is no program that can be run", path);
    else
        memcpy(side->binary, real, strlen(real) + 1);
    free(real);
    return status;
}

static enum status take_rev(struct ab_side *side, struct err *err)
{
    if (side->options.rev == NULL)
        return STATUS_OK;
    const struct engine_ops *ops = side->run.ops;
    if (ops != NULL && ops->become == NULL)
        return ERR(err, STATUS_INVALID,
                   "--rev changes nothing for engine '%s', whose code is in "
                   "the program; give a program built from it with --binary",
                   ops->name);
    struct err cause = {0};
    enum status status = ab_rev_find(side->options.rev, &side->rev, &cause);
    return status == STATUS_OK ? status : ERR(err, status, "--rev: %s", cause.text);
}

static enum status take_side(struct ab_setup *setup, enum pair_name name,
                             const struct options_table *common, const struct options_seen *seen,
                             struct err *err)
{
    struct ab_side *side = &setup->sides[name];
    const struct options_table table = command_options(&ab_side_command, &program_list[0]);
    const struct options_table run_table = command_options(&command_run, &program_list[0]);
    struct options_seen side_seen = {0};
    struct options_seen run_seen = {0};
    side->options.run = setup->options.run;
    enum status status = take_words(side, setup->options.flags[name], &table, &side_seen, err);
    if (status != STATUS_OK)
        return status;
    merge_seen(common, seen, &table, &side_seen, &run_seen);
    status = run_setup_make(&side->options.run, &run_table, &run_seen, &side->run, err);
    if (status == STATUS_OK)
        status = take_binary(side, err);
    if (status == STATUS_OK)
        status = take_rev(side, err);
    return status;
}

/* --- both --- */

static enum status pair_up(struct ab_setup *setup, struct err *err)
{
    size_t a = setup->sides[PAIR_A].run.plan.cells_count;
    size_t b = setup->sides[PAIR_B].run.plan.cells_count;
    if (a != b)
        return ERR(err, STATUS_INVALID,
                   "side A has %zu cell%s and side B %zu; they are compared in "
                   "order, so give both as many (--mode, --precision, --seq, --batch)",
                   a, num_plural(a), b);
    setup->pairs_count = a;
    return STATUS_OK;
}

/* STATUS_NOMEM, or a wrong command line; the text says which side. release_setup() in any case. */
static enum status make_setup(const struct command *command, const struct ab_options *options,
                              const struct options_seen *seen, struct ab_setup *ret_setup,
                              struct err *err)
{
    struct ab_setup *setup = ret_setup;
    const struct options_table table = command_options(command, &program_list[0]);
    *setup = (struct ab_setup){.options = *options};
    if (options_given(&table, seen, "rounds") && options_given(&table, seen, "max-time"))
        return ERR(err, STATUS_INVALID,
                   "--rounds and --max-time exclude each other; leave one out");
    enum status status = STATUS_OK;
    for (int i = 0; i < PAIR_SIDES && status == STATUS_OK; i++) {
        struct err cause = {0};
        words_init(&setup->sides[i].words);
        status = take_side(setup, (enum pair_name)i, &table, seen, &cause);
        if (status != STATUS_OK && options->flags[i] != NULL)
            return ERR(err, status, "--%s: %s", pair_key((enum pair_name)i), cause.text);
        if (status != STATUS_OK)
            return ERR(err, status, "%s", cause.text);
    }
    memcpy(setup->out, setup->sides[PAIR_A].run.out, sizeof(setup->out));
    return pair_up(setup, err);
}

static void release_setup(struct ab_setup *setup)
{
    for (int i = 0; i < PAIR_SIDES; i++) {
        run_setup_release(&setup->sides[i].run);
        words_release(&setup->sides[i].words);
    }
}

void ab_setup_describe_time(const struct ab_options *options, struct buf *out)
{
    char limit[NUM_TEXT_BYTES];
    uint64_t starts = ab_starts(options);
    num_format_duration(options->max_time_ns, limit);
    if (options->rounds > 0)
        buf_appendf(out, "%" PRIu64 " start%s of %" PRIu64 " round%s", starts, num_plural(starts),
                    options->rounds, num_plural(options->rounds));
    else if (starts == 1)
        buf_appendf(out, "1 start, at most %s of rounds", limit);
    else
        buf_appendf(out,
                    "at most %" PRIu64 " starts, %s of rounds in all, and as long again to "
                    "prepare workers after the first start",
                    starts, limit);
}

bool ab_is_same_work(const struct cell *a, const struct cell *b)
{
    return strcmp(a->model.name, b->model.name) == 0 && strcmp(a->model_ref, b->model_ref) == 0 &&
           model_params_total(&a->model) == model_params_total(&b->model) && a->mode == b->mode &&
           a->seq_len == b->seq_len && a->batch_size == b->batch_size;
}

enum exit_code ab_setup_run(const struct invocation *call, const struct ab_options *options,
                            const struct options_seen *seen, ab_action *dry_run, ab_action *measure)
{
    struct err err = {0};
    struct ab_setup *setup = calloc(1, sizeof(*setup)); /* large: paths and flags of two sides */
    enum status status = setup == NULL ? ERR(&err, STATUS_NOMEM, "out of memory")
                                       : make_setup(call->command, options, seen, setup, &err);
    enum exit_code code = status == STATUS_NOMEM ? EXIT_CODE_IO : EXIT_CODE_USAGE;
    if (status == STATUS_OK)
        code = (options->run.is_dry_run ? dry_run : measure)(call, setup);
    else
        command_complain(call, "%s", err.text);
    if (setup != NULL)
        release_setup(setup);
    free(setup);
    return code;
}
