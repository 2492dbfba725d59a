#include "cli/ab_bench.h"

#include <jansson.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cli/busy.h"
#include "cli/signals.h"
#include "telemetry/environment.h"

#define WARMUP_STARTS 10 /* more starts are as many as are cheap: they share with fewer */

void ab_bench_note(struct ab_bench *bench, const char *format, ...)
{
    if (bench->setup->options.run.is_quiet)
        return;
    char text[ERR_TEXT_BYTES];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    ab_progress_clear(&bench->progress);
    command_complain(bench->call, "%s", text);
}

/* --- opening --- */

/* Auto warm-up takes no more than a part of --max-time a side: what still drifts after it is shared
 * by both. */
static struct measure_policy side_policy(const struct ab_setup *setup, const struct ab_side *side)
{
    struct measure_policy policy = side->run.policy;
    uint64_t starts = ab_starts(&setup->options);
    uint64_t share_ns =
        setup->options.max_time_ns / (4 * (starts < WARMUP_STARTS ? starts : WARMUP_STARTS));
    if (setup->options.rounds == 0 && share_ns < policy.warmup_time_max_ns)
        policy.warmup_time_max_ns = share_ns;
    return policy;
}

/* Would both sides' workers come of one server? Two would import as often as the workers by
 * themselves. */
static bool can_share_server(const struct ab_setup *setup)
{
    const struct ab_side *a = &setup->sides[PAIR_A];
    const struct ab_side *b = &setup->sides[PAIR_B];
    const char *pythons[] = {a->options.run.python, b->options.run.python};
    bool is_same_python = pythons[0] == pythons[1] || (pythons[0] != NULL && pythons[1] != NULL &&
                                                       strcmp(pythons[0], pythons[1]) == 0);
    return a->run.ops == b->run.ops && is_same_python && a->binary[0] == '\0' &&
           b->binary[0] == '\0' && a->rev.commit[0] == '\0' && b->rev.commit[0] == '\0' &&
           a->options.run.launch == NULL && b->options.run.launch == NULL;
}

static struct client_options side_options(struct ab_bench *bench, enum pair_name name)
{
    const struct ab_side *side = &bench->setup->sides[name];
    struct client_options client = context_client(&bench->context, &side->options.run);
    if (side->binary[0] != '\0')
        client.self_path = side->binary;
    client.events = &bench->events;
    if (can_share_server(bench->setup))
        client.fork_pool = context_fork_pool(&bench->context, &side->options.run, side->run.ops);
    return client;
}

/* The interpreter is chosen in the current folder, whatever folder the worker then starts in: a
 * revision has no ./.venv of its own. */
static enum status keep_python(struct ab_bench *bench, enum pair_name name, struct err *err)
{
    json_t *object = json_loads(bench->interpreters[name].data, 0, NULL);
    const char *path = json_string_value(json_object_get(object, "executable"));
    enum status status = STATUS_OK;
    if (path == NULL || strlen(path) >= FILE_PATH_BYTES)
        status = ERR(err, STATUS_NOT_FOUND, "the interpreter of side %s does not say where it is",
                     pair_title(name));
    else
        memcpy(bench->pythons[name], path, strlen(path) + 1);
    file_path_from_text(bench->pythons[name]);
    json_decref(object);
    bench->clients[name].python = bench->pythons[name];
    return status;
}

static enum status probe_side(struct ab_bench *bench, enum pair_name name, struct err *err)
{
    const struct ab_side *side = &bench->setup->sides[name];
    struct buf *json = &bench->interpreters[name];
    struct err cause = {0};
    enum status status = context_preflight(&bench->clients[name], side->run.ops, json, &cause);
    if (status != STATUS_OK)
        return ERR(err, status, "side %s: %s", pair_title(name), cause.text);
    if (json->length_bytes == 0)
        return STATUS_OK;
    if (name == PAIR_A)
        status = environment_add(&bench->context.environment, "worker", json->data, err);
    if (status == STATUS_OK && side->rev.commit[0] != '\0')
        status = keep_python(bench, name, err);
    return status;
}

static enum status check_out(struct ab_bench *bench, enum pair_name name, struct err *err)
{
    struct ab_rev *rev = &bench->setup->sides[name].rev;
    if (rev->commit[0] == '\0')
        return STATUS_OK;
    struct err cause = {0};
    enum status status = ab_rev_check_out(rev, &cause);
    bench->clients[name].work_dir = rev->work_folder;
    return status == STATUS_OK ? status
                               : ERR(err, status, "side %s: %s", pair_title(name), cause.text);
}

static enum status open_sides(struct ab_bench *bench, struct err *err)
{
    enum status status = STATUS_OK;
    for (int i = 0; status == STATUS_OK && i < PAIR_SIDES; i++) {
        bench->clients[i] = side_options(bench, (enum pair_name)i);
        status = probe_side(bench, (enum pair_name)i, err);
    }
    return status;
}

static enum status open_folder(struct ab_bench *bench, struct err *err)
{
    static const char *const names[] = {"logs", "samples"};
    const char *out = bench->setup->out;
    enum status status = journal_open(out, JOURNAL_AB, &bench->journal, err);
    bench->is_open = status == STATUS_OK;
    for (size_t i = 0; status == STATUS_OK && i < ARRAY_COUNT(names); i++) {
        char path[FILE_PATH_BYTES];
        status = file_join(out, names[i], path, err);
        if (status == STATUS_OK)
            status = file_make_dirs(path, err);
    }
    if (status == STATUS_OK && bench->journal.torn_bytes > 0)
        ab_bench_note(bench, "repaired %s: cut a torn last line of %zu bytes", out,
                      bench->journal.torn_bytes);
    return status;
}

enum status ab_bench_open(struct ab_bench *bench, const struct invocation *call,
                          struct ab_setup *setup, const char *purpose, size_t comparisons_total,
                          struct err *err)
{
    *bench = (struct ab_bench){.call = call, .setup = setup, .purpose = purpose};
    for (int i = 0; i < PAIR_SIDES; i++)
        buf_init(&bench->interpreters[i], ENVIRONMENT_BYTES_MAX);
    ab_progress_init(&bench->progress, setup->options.run.is_quiet, comparisons_total);
    bench->events = ab_progress_events(&bench->progress);
    busy_notice(call, &setup->options.run);
    enum status status = context_open(&bench->context, call, err);
    if (status == STATUS_OK)
        status = context_listen(&bench->context, err);
    if (status == STATUS_OK)
        status = open_sides(bench, err);
    if (status != STATUS_OK)
        return status;
    context_identify(&bench->context);
    status = open_folder(bench, err);
    for (int i = 0; status == STATUS_OK && i < PAIR_SIDES; i++)
        status = check_out(bench, (enum pair_name)i, err);
    return status;
}

void ab_bench_close(struct ab_bench *bench)
{
    ab_progress_clear(&bench->progress);
    const char *why_fresh = context_fork_failure(&bench->context);
    if (why_fresh != NULL)
        ab_bench_note(bench, "workers were started one by one, as with --fresh: %s", why_fresh);
    for (int i = 0; i < PAIR_SIDES; i++) {
        struct err err = {0};
        if (ab_rev_remove(&bench->setup->sides[i].rev, &err) != STATUS_OK)
            command_complain(bench->call, "%s", err.text);
        buf_release(&bench->interpreters[i]);
    }
    if (bench->is_open)
        journal_close(&bench->journal);
    context_close(&bench->context);
}

/* --- one comparison --- */

static enum status log_path(const struct ab_bench *bench, enum pair_name name, size_t number,
                            char path[FILE_PATH_BYTES], struct err *err)
{
    char file_name[128];
    char folder[FILE_PATH_BYTES];
    (void)snprintf(file_name, sizeof(file_name), "ab-%s.%zu.%s.log", bench->context.run_id, number,
                   pair_key(name));
    enum status status = file_join(bench->setup->out, "logs", folder, err);
    return status == STATUS_OK ? file_join(folder, file_name, path, err) : status;
}

static enum status open_samples(const struct ab_bench *bench, const char *name,
                                struct lines_file *ret_file, struct err *err)
{
    char folder[FILE_PATH_BYTES];
    char path[FILE_PATH_BYTES];
    enum status status = file_join(bench->setup->out, "samples", folder, err);
    if (status == STATUS_OK)
        status = file_join(folder, name, path, err);
    return status == STATUS_OK ? lines_open(ret_file, path, err) : status;
}

static enum status store_line(struct ab_bench *bench, const struct ab_row *row, struct err *err)
{
    const struct ab_facts facts = {
        .setup = bench->setup,
        .purpose = bench->purpose,
        .run_id = bench->context.run_id,
        .environment_id = bench->context.environment_id,
        .environment_json = bench->context.environment.data,
        .command_json = context_command(&bench->context),
        .interpreter_json = {bench->interpreters[PAIR_A].length_bytes > 0
                                 ? bench->interpreters[PAIR_A].data
                                 : NULL,
                             bench->interpreters[PAIR_B].length_bytes > 0
                                 ? bench->interpreters[PAIR_B].data
                                 : NULL},
        .clients = {&bench->clients[PAIR_A], &bench->clients[PAIR_B]},
    };
    struct buf line;
    buf_init(&line, AB_REPORT_BYTES_MAX);
    ab_report_line(&facts, row, &line);
    enum status status = line.failed
                             ? ERR(err, STATUS_NOMEM, "out of memory")
                             : journal_append(&bench->journal, line.data, line.length_bytes, err);
    if (status == STATUS_OK && bench->writer != NULL)
        form_add_line(bench->writer, line.data);
    buf_release(&line);
    return status;
}

static enum status compare(struct ab_bench *bench, struct ab_row *row, struct err *err)
{
    const struct ab_options *options = &bench->setup->options;
    char log_paths[PAIR_SIDES][FILE_PATH_BYTES];
    struct lines_file samples = {.fd = -1};
    enum status status = open_samples(bench, row->samples_name, &samples, err);
    for (int i = 0; status == STATUS_OK && i < PAIR_SIDES; i++)
        status = log_path(bench, (enum pair_name)i, bench->compared_count, log_paths[i], err);
    const struct pair_plan plan = {
        .cells = {row->cells[PAIR_A], row->cells[PAIR_B]},
        .clients = {&bench->clients[PAIR_A], &bench->clients[PAIR_B]},
        .policies = {side_policy(bench->setup, &bench->setup->sides[PAIR_A]),
                     side_policy(bench->setup, &bench->setup->sides[PAIR_B])},
        .run_id = bench->context.run_id,
        .foreign_limit_percent = (double)options->run.foreign_load,
        .log_paths = {log_paths[PAIR_A], log_paths[PAIR_B]},
        .rule = {.starts_max = ab_starts(options),
                 .rounds_exact = options->rounds,
                 .is_estimate = options->repeats > 0,
                 .time_max_ns = options->rounds > 0 ? 0 : options->max_time_ns,
                 .limits = {.threshold = log1p(row->threshold_percent / 100),
                            .floor = row->floor.is_known ? log1p(row->floor.percent / 100) : 0},
                 .prior = compare_prior_built_in()},
        .rounds_file = &samples,
        .listener = ab_progress_listener(&bench->progress),
    };
    if (status == STATUS_OK)
        status = pair_compare(&plan, &row->result, err);
    lines_close(&samples);
    return status;
}

enum status ab_bench_compare(struct ab_bench *bench, size_t pair, struct ab_row *row,
                             struct err *err)
{
    struct buf text;
    row->pair = pair;
    for (int i = 0; i < PAIR_SIDES; i++)
        row->cells[i] = &bench->setup->sides[i].run.plan.cells[pair];
    bench->compared_count++;
    (void)snprintf(row->samples_name, sizeof(row->samples_name), "ab-%s.%zu.jsonl",
                   bench->context.run_id, bench->compared_count);
    buf_init(&text, AB_PROGRESS_TEXT_BYTES - 1);
    ab_report_describe(row, &text);
    ab_progress_begin(&bench->progress, bench->compared_count, text.data, &bench->setup->options);
    enum status status = compare(bench, row, err);
    if (status == STATUS_OK)
        status = store_line(bench, row, err);
    if (status == STATUS_OK) {
        buf_reset(&text);
        ab_report_outcome(row, &text);
        ab_progress_end(&bench->progress, text.data);
    }
    buf_release(&text);
    return status;
}

enum exit_code ab_bench_fail(struct ab_bench *bench, enum status status, const struct err *err)
{
    ab_progress_clear(&bench->progress);
    return context_fail(&bench->context, bench->is_open, status, err);
}
