#include "cli/run_setup.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/num.h"
#include "cli/run_layouts.h"
#include "cli/run_model.h"
#include "cli/run_ref.h"
#include "cli/run_words.h"
#include "data/tokens.h"
#include "data/weights_index.h"
#include "drive/trial.h"

#define DATA_SYNTHETIC "synthetic"

/* Borrowed: for the call. */
struct given {
    const struct options_table *table;
    const struct options_seen *seen;
};

static bool is_given(const struct given *given, const char *name)
{
    return options_given(given->table, given->seen, name);
}

/* Is the engine in the row's list? */
static bool is_taker(const struct option *row, const char *engine)
{
    const char *word = strncmp(engine, "exec:", strlen("exec:")) == 0 ? "exec:" : engine;
    size_t length = strlen(word);
    for (const char *at = row->engines; *at != '\0'; at += strcspn(at, " "), at += *at == ' ')
        if (strcspn(at, " ") == length && strncmp(at, word, length) == 0)
            return true;
    return false;
}

/* A flag that the engine does not take: says which do. */
static enum status refuse_flag(const char *engine, const struct option *row, struct err *err)
{
    char takers[128] = "";
    size_t length = 0;
    for (unsigned i = 0; i < engine_list_count && length < sizeof(takers); i++)
        if (is_taker(row, engine_list[i]->name))
            length += (size_t)snprintf(takers + length, sizeof(takers) - length, "%s%s",
                                       length > 0 ? " or " : "", engine_list[i]->name);
    return ERR(err, STATUS_INVALID, "--%s is for --engine %s, not '%.60s'", row->name, takers,
               engine);
}

/* Flags that only some engines take. An exec: engine may know what a cell's options are; its
 * interpreter is in its command. */
static enum status check_engine_flags(const char *engine, const struct given *given,
                                      struct err *err)
{
    if (is_given(given, "compile") && strcmp(engine, "jax") == 0)
        return ERR(err, STATUS_INVALID, "--compile is for --engine pytorch: jax always compiles");
    for (size_t i = 0; i < options_rows_count(given->table); i++) {
        const struct option *row = options_row(given->table, i);
        if (row->engines != NULL && given->seen->is_given[i] && !is_taker(row, engine))
            return refuse_flag(engine, row, err);
    }
    return STATUS_OK;
}

/* Sizes that are to be found. */
static enum status check_goals(const struct run_options *options, struct err *err)
{
    bool has_seq = options->seq_lens.goal != PLAN_GOAL_NONE;
    bool has_batch = options->batch_sizes.goal != PLAN_GOAL_NONE;
    bool has_devices = run_layouts_are_found(options->devices);
    if (has_seq + has_batch + has_devices > 1)
        return ERR(
            err, STATUS_INVALID,
            "--seq, --batch and --devices: one of them can be found, for given values of the "
            "others");
    if ((has_seq || has_batch || has_devices) && !options->finds_sizes)
        return ERR(err, STATUS_INVALID, "--%s: sizes are found by `tokmark run`; give a number",
                   has_seq     ? "seq"
                   : has_batch ? "batch"
                               : "devices");
    if (has_devices && options->launch != NULL)
        return ERR(err, STATUS_INVALID,
                   "--devices %s: the launcher starts a number of its own; give that number",
                   options->devices);
    return STATUS_OK;
}

/* Flags that contradict each other: neither wins in silence. */
static enum status check_conflicts(const struct run_options *options, const struct given *given,
                                   struct err *err)
{
    static const char *const by_precision[] = {"target-ci", "max-time"};
    for (size_t i = 0; i < ARRAY_COUNT(by_precision); i++)
        if (is_given(given, "steps") && is_given(given, by_precision[i]))
            return ERR(err, STATUS_INVALID,
                       "--steps and --%s exclude each other: --steps measures exactly that many; "
                       "leave one out",
                       by_precision[i]);
    if (options->platform != NULL && is_given(given, "platform") && is_given(given, "device"))
        return ERR(err, STATUS_INVALID,
                   "--platform and --device exclude each other; leave one out");
    TRY(check_goals(options, err));
    TRY(check_engine_flags(options->engine, given, err));
    if (options->devices != NULL && is_given(given, "device"))
        return ERR(err, STATUS_INVALID, "--device and --devices exclude each other; leave one out");
    if (is_given(given, "data-format") && strcmp(options->data, DATA_SYNTHETIC) == 0)
        return ERR(err, STATUS_INVALID, "--data-format needs --data FILE; leave it out");
    return STATUS_OK;
}

typedef enum status file_hasher(const char *path, char id[HASH_ID_BYTES], struct err *err);

/* A readable file and its content's hash. */
static enum status take_file(const char *flag, const char *path, file_hasher *hash, char *ret_path,
                             char ret_hash[HASH_ID_BYTES], struct err *err)
{
    struct stat info;
    if (stat(path, &info) != 0)
        return ERR(err, STATUS_INVALID, "--%s: cannot read '%.200s': %s", flag, path,
                   strerror(errno));
    if (S_ISDIR(info.st_mode))
        return ERR(err, STATUS_INVALID, "--%s: '%.200s' is a folder; give a file", flag, path);
    struct err cause = {0};
    if (hash(path, ret_hash, &cause) != STATUS_OK)
        return ERR(err, STATUS_INVALID, "--%s: %s", flag, cause.text);
    /* Absolute: a worker may run elsewhere (--launch), and records should say which file it was. */
    char *absolute = realpath(path, NULL);
    enum status status = STATUS_OK;
    if (absolute == NULL)
        status =
            ERR(err, STATUS_INVALID, "--%s: cannot read '%.200s': %s", flag, path, strerror(errno));
    else if (file_path_to_text(absolute, ret_path, CELL_PATH_BYTES, &cause) != STATUS_OK)
        status = ERR(err, STATUS_INVALID, "--%s: %s", flag, cause.text);
    free(absolute);
    return status;
}

/* A file, a folder that holds one under its usual name, or an index of several files. */
static enum status take_weights(const struct run_options *options, struct cell *cell,
                                struct err *err)
{
    char path[FILE_PATH_BYTES];
    struct err cause = {0};
    if (weights_index_find(options->weights, path, &cause) != STATUS_OK)
        return ERR(err, STATUS_INVALID, "--weights: %s", cause.text);
    file_hasher *hash = weights_index_is_one(path) ? weights_index_hash : tokens_hash_file;
    return take_file("weights", path, hash, cell->weights_path, cell->weights_hash, err);
}

static enum status check_trust(const struct run_options *options, const struct cell *cell,
                               struct err *err)
{
    bool may_hold_code = strcmp(options->engine, "pytorch") == 0 && run_ref_is_hf(cell->model_ref);
    if (cell->options.trusts_code && !may_hold_code)
        return ERR(err, STATUS_INVALID,
                   "--trust-remote-code is for --engine pytorch --model hf:DIR, whose folder may "
                   "hold code; leave it out");
    return STATUS_OK;
}

static enum status take_inputs(const struct run_options *options, struct cell *cell,
                               struct err *err)
{
    /* Both override a prediction, never a measurement. */
    cell->skips_memory_check = options->tries_all || options->memory_limit_bytes > 0;
    cell->data = CELL_DATA_SYNTHETIC;
    enum status status = STATUS_OK;
    if (strcmp(options->data, DATA_SYNTHETIC) != 0) {
        cell->data = (enum cell_data)options->data_format;
        status = take_file("data", options->data, tokens_hash_file, cell->data_path,
                           cell->data_hash, err);
    }
    if (status == STATUS_OK && options->weights != NULL)
        status = take_weights(options, cell, err);
    return status;
}

/* The engine's cell fields. */
static void take_engine(const struct run_options *options, struct cell *cell)
{
    const char *name = options->engine;
    bool is_sandbox = options->is_sandbox && strcmp(name, "sandbox") != 0;
    const char *worker = options->is_sandbox ? "sandbox" : name;
    (void)snprintf(cell->engine, sizeof(cell->engine), "%s", worker);
    (void)snprintf(cell->framework, sizeof(cell->framework), "%s%s", name,
                   is_sandbox ? "-sandbox" : "");
}

/* One rate is one cell, however it is written. */
static void take_learning_rate(struct cell *cell)
{
    char text[NUM_TEXT_BYTES] = "";
    double rate = cell_learning_rate(cell);
    if (rate != CELL_LEARNING_RATE)
        num_format_double(rate, text);
    (void)snprintf(cell->options.learning_rate, sizeof(cell->options.learning_rate), "%s", text);
}

/* To PyTorch, gpu and cuda are the first CUDA device: one cell, whatever it is called. */
static void take_device(const struct run_options *options, struct cell *cell)
{
    if (options->devices != NULL) {
        run_take_devices(options->devices, cell->device);
        return;
    }
    const char *device = options->device != NULL ? options->device : options->platform;
    bool is_first =
        strcmp(options->engine, "pytorch") == 0 &&
        (strcmp(device, "gpu") == 0 || strcmp(device, "cuda") == 0 || strcmp(device, "gpu:0") == 0);
    (void)snprintf(cell->device, sizeof(cell->device), "%s", is_first ? "cuda:0" : device);
}

/* --set max_seq_len=N is more rows of positions than there are tokens. */
static bool is_length_set(const struct run_options *options)
{
    static const char key[] = "max_seq_len=";
    for (size_t i = 0; i < options->settings.count; i++)
        if (strncmp(options->settings.items[i], key, sizeof(key) - 1) == 0)
            return true;
    return false;
}

static void take_axes(const struct run_options *options, struct plan_axes *axes)
{
    axes->keeps_length = axes->base.model_ref[0] == '\0' && !axes->base.options.keeps_defaults &&
                         is_length_set(options);
    for (size_t i = 0; i < options->modes.count; i++)
        axes->modes[i] = (enum cell_mode)options->modes.values[i];
    axes->modes_count = options->modes.count;
    for (size_t i = 0; i < options->precisions.count; i++)
        axes->precisions[i] = (enum cell_precision)options->precisions.values[i];
    axes->precisions_count = options->precisions.count;
    axes->seq_lens = options->seq_lens;
    axes->batch_sizes = options->batch_sizes;
}

static void take_policy(const struct run_options *options, const struct given *given,
                        struct measure_policy *policy)
{
    *policy = measure_policy_default();
    bool is_by_precision = is_given(given, "target-ci") || is_given(given, "max-time");
    policy->is_target_asked = is_given(given, "target-ci");
    policy->steps_exact = is_by_precision ? 0 : options->steps;
    if (options->target_ci_percent > 0)
        policy->target_ci_percent = options->target_ci_percent;
    if (options->max_time_ns > 0)
        policy->time_max_ns = options->max_time_ns;
    if (policy->time_min_ns > policy->time_max_ns)
        policy->time_min_ns = policy->time_max_ns;
    policy->is_warmup_auto = options->warmup == RUN_WARMUP_AUTO;
    policy->warmup_steps = policy->is_warmup_auto ? 0 : options->warmup;
    policy->is_sync_per_block = options->sync == PROTO_SYNC_BLOCK;
}

static enum status take_out(const char *out, char ret_out[FILE_PATH_BYTES], struct err *err)
{
    size_t length = strlen(out);
    while (length > 1 && out[length - 1] == '/')
        length--;
    (void)snprintf(ret_out, FILE_PATH_BYTES, "%.*s", (int)length, out);
    const char *slash = strrchr(ret_out, '/');
    const char *last = slash != NULL ? slash + 1 : ret_out;
    if (last[0] == '\0' || strcmp(last, ".") == 0 || strcmp(last, "..") == 0)
        return ERR(err, STATUS_INVALID, "--out: '%.200s' has no name of its own; try '%s%s_bench'",
                   out, ret_out, last[0] == '\0' ? "" : "/");
    struct stat info;
    if (stat(ret_out, &info) == 0 && !S_ISDIR(info.st_mode))
        return ERR(err, STATUS_INVALID,
                   "--out: '%.200s' is a file, not a folder; try '%.200s_bench'", ret_out, ret_out);
    return STATUS_OK;
}

enum status run_setup_make(const struct run_options *options, const struct options_table *table,
                           const struct options_seen *seen, struct run_setup *ret_setup,
                           struct err *err)
{
    struct given given = {table, seen};
    struct run_setup setup = {.options = *options};
    struct plan_axes axes = {.base = options->cell};
    struct cell *cell = &axes.base;
    enum status status = check_conflicts(options, &given, err);
    take_engine(options, cell);
    take_learning_rate(cell);
    /* As published: bench_pytorch without --model measures the package with its own defaults. */
    cell->options.keeps_defaults = strcmp(cell->engine, "pytorch") == 0 &&
                                   !is_given(&given, "model") &&
                                   strcmp(options->model, "superintelligence") == 0;
    if (status == STATUS_OK)
        status = run_model_take(options, engine_find(cell->engine), cell, err);
    if (status == STATUS_OK)
        status = check_trust(options, cell, err);
    if (status == STATUS_OK)
        status = take_out(options->out, setup.out, err);
    if (status == STATUS_OK)
        status = take_inputs(options, cell, err);
    if (status != STATUS_OK)
        return status;
    take_device(options, cell);
    take_axes(options, &axes);
    TRY(run_layouts_take(&options->parallels, options->devices, &axes, err));
    take_policy(options, &given, &setup.policy);
    trial_policy_id(&setup.policy, options->launch, setup.policy_id);
    setup.keeps_length = axes.keeps_length;
    status = plan_make(&axes, &setup.plan, err);
    setup.ops = engine_find(cell->engine);
    *ret_setup = setup;
    return status;
}

void run_setup_release(struct run_setup *setup)
{
    plan_release(&setup->plan);
}
