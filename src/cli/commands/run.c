#include "cli/commands/run.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/num.h"
#include "base/sysmem.h"
#include "cli/busy.h"
#include "cli/compare_call.h"
#include "cli/context.h"
#include "cli/fit.h"
#include "cli/git.h"
#include "cli/matrix.h"
#include "cli/render/dry_run.h"
#include "cli/render/forms.h"
#include "cli/render/progress.h"
#include "cli/render/table.h"
#include "cli/render/terminal.h"
#include "cli/results.h"
#include "cli/run_hud.h"
#include "cli/run_setup.h"
#include "cli/signals.h"
#include "cli/sweep.h"
#include "client/client.h"
#include "client/event_log.h"
#include "spec/device.h"
#include "telemetry/environment.h"
#include "telemetry/nvml.h"

/* Bounds the memory that is taken to know which program this is. */
#define PROGRAM_BYTES_MAX ((size_t)1024 * 1024 * 1024)

/* What the whole run is made of, so that it can be released in one place. */
struct run {
    const struct invocation *call; /* borrowed: for the call */
    struct run_setup setup;
    struct context context;
    struct store *store; /* owned; NULL until it is open */
    struct progress progress;
    struct table table;
    struct buf results; /* in a form for programs */
    struct form_writer writer;
    struct results_tally tally;
    struct known known;
    char program_id[HASH_ID_BYTES];
    struct sweep sweep;
    struct event_log events;
    struct run_hud hud;
};

static enum progress_style progress_style(const struct run_options *options)
{
    if (options->is_quiet || options->progress == RUN_WHEN_NEVER)
        return PROGRESS_NONE;
    bool is_rewritten = options->progress == RUN_WHEN_ALWAYS || terminal_is_smart(STDERR_FILENO);
    return is_rewritten ? PROGRESS_REWRITE : PROGRESS_LINES;
}

/* A line on stderr that is no error; --quiet leaves it out. */
static void note(struct run *run, const char *format, ...) PRINTF_LIKE(2, 3);
static void note(struct run *run, const char *format, ...)
{
    if (run->setup.options.is_quiet)
        return;
    char text[ERR_TEXT_BYTES];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    progress_clear(&run->progress);
    command_complain(run->call, "%s", text);
}

static enum status open_store(struct run *run, struct err *err)
{
    struct store_facts facts = {0};
    enum status status = store_open(run->setup.out, &run->store, &facts, err);
    if (status != STATUS_OK)
        return status;
    const char *out = run->setup.out;
    if (facts.torn_bytes > 0)
        note(run, "repaired %s: cut a torn last line of %zu bytes", out, facts.torn_bytes);
    if (facts.is_csv_moved_aside)
        note(run,
             "%s: bench_results.csv was another's: it is now bench_results.csv.orig, or .orig.N",
             out);
    else if (facts.is_csv_remade)
        note(run, "repaired %s: made bench_results.csv anew from bench_results.jsonl", out);
    if (facts.bad_lines_count > 0)
        note(run,
             "%s: %zu line%s of bench_results.jsonl left as found, being no record of tokmark's",
             out, facts.bad_lines_count, num_plural(facts.bad_lines_count));
    return STATUS_OK;
}

static struct client_options client_options(const struct run *run)
{
    const struct run_options *options = &run->setup.options;
    struct client_options client = context_client(&run->context, options);
    if (run->setup.plan.cells_count > 1 || fit_is_wanted(&run->setup))
        client.fork_pool = context_fork_pool(&run->context, options, run->setup.ops);
    return client;
}

/* The interpreter and its packages become part of the environment: other ones are another
 * measurement. An engine that is not there is told at once, not cell by cell. */
static enum status probe_engine(struct run *run, struct err *err)
{
    const struct client_options client = client_options(run);
    struct buf json;
    buf_init(&json, ENVIRONMENT_BYTES_MAX);
    client_prepare(&client, run->setup.options.engine);
    enum status status = context_preflight(&client, run->setup.ops, &json, err);
    if (status == STATUS_OK && json.length_bytes > 0)
        status = environment_add(&run->context.environment, "worker", json.data, err);
    buf_release(&json);
    return status;
}

/* What is not met is told, and stays in the records: whether to go on is the user's decision. */
static enum status answer_matrix(struct run *run, struct err *err)
{
    const char *path = run->setup.options.matrix;
    struct buf json CLEANUP(buf_release) = {0};
    enum matrix_answer answer = MATRIX_MET;
    if (path == NULL)
        return STATUS_OK;
    buf_init(&json, MATRIX_BYTES_MAX);
    TRY(matrix_answer_file(path, run->context.environment.data, &json, &answer, err));
    if (answer != MATRIX_MET)
        note(run, "%s: %s (`tokmark env --matrix %s` says which line)", path,
             matrix_answer_name(answer), path);
    return environment_add(&run->context.environment, "matrix", json.data, err);
}

static enum status identify_program(struct run *run, struct err *err)
{
    struct buf program;
    buf_init(&program, PROGRAM_BYTES_MAX);
    enum status status = file_read_all("/proc/self/exe", &program, err);
    if (status == STATUS_OK)
        hash_id(program.data, program.length_bytes, run->program_id);
    buf_release(&program);
    return status;
}

/* What is known of the machine; a run goes on without. */
static void look_up_known(struct run *run)
{
    const struct run_options *options = &run->setup.options;
    struct err why = {0};
    bool wants_history = options->history != 0;
    if (wants_history && identify_program(run, &why) != STATUS_OK) {
        note(run, "earlier runs are not looked at: %s", why.text);
        wants_history = false; /* a program that may run need not be readable */
    }
    if (known_init(&run->known, options->clock_check != 0, wants_history,
                   run->context.environment.data, &why) != STATUS_OK)
        note(run, "what earlier runs say of this machine is not known: %s", why.text);
}

static void open_events(struct run *run)
{
    const struct event_log_run told = {
        .run_id = run->context.run_id,
        .command_json = context_command(&run->context),
        .plan = &run->setup.plan,
        .trials = run->setup.options.trials,
    };
    event_log_open(&run->events, run->setup.out, &told);
}

/* A screen that cannot be drawn on is no reason not to measure. */
static void open_hud(struct run *run)
{
    struct err why = {0};
    if (run->setup.options.has_hud &&
        run_hud_open(&run->hud, run->setup.out, terminal_may_color(run->setup.options.color),
                     &run->progress, &why) != STATUS_OK)
        note(run, "%s", why.text);
}

static enum status prepare(struct run *run, struct err *err)
{
    enum status status = context_open(&run->context, run->call, err);
    if (status == STATUS_OK)
        status = probe_engine(run, err);
    if (status == STATUS_OK)
        status = answer_matrix(run, err);
    if (status != STATUS_OK)
        return status;
    context_identify(&run->context);
    look_up_known(run);
    status = context_listen(&run->context, err);
    if (status == STATUS_OK)
        status = fit_find(&run->setup, &run->context, client_options(run), err);
    progress_set_cells(&run->progress, run->setup.plan.cells_count); /* maybe fewer than before */
    if (status == STATUS_OK)
        status = open_store(run, err);
    if (status == STATUS_OK)
        open_events(run);
    if (status == STATUS_OK)
        open_hud(run);
    return status;
}

/* What the median should be known to. */
static double target_percent(const struct run_setup *setup)
{
    double target = setup->options.target_ci_percent;
    return target > 0 ? target : measure_policy_default().target_ci_percent;
}

static uint64_t card_bytes(const struct run *run)
{
    return device_is_host(run->setup.plan.cells[0].device) ? 0 : nvml_smallest_memory();
}

static double drift_limit_percent(const struct run_setup *setup)
{
    bool is_told = setup->options.drift != RUN_DRIFT_AUTO;
    return is_told ? (double)setup->options.drift : target_percent(setup);
}

static struct observe_options observe_options(const struct run *run)
{
    return (struct observe_options){
        .foreign_limit_percent = (double)run->setup.options.foreign_load,
        .clock_best_ns = run->known.has_clock ? &run->known.clock_best_ns : NULL,
        .machine = run->known.has_history ? &run->known.book : NULL,
        .target_percent =
            run->setup.policy.is_target_asked ? run->setup.policy.target_ci_percent : 0,
        .machine_id = run->known.machine_id,
        .peaks = &run->known.book,
        .hardware_id = run->known.hardware_id,
        .price_per_kwh = run->setup.options.price_per_kwh,
        .price_per_hour = run->setup.options.price_per_hour,
        .run_id = run->context.run_id,
        .program_id = run->program_id,
        .environment_id = run->context.environment_id,
        .results_dir = run->setup.out,
    };
}

static enum status sweep(struct run *run, struct record **ret_lost, struct err *err)
{
    const struct run_options *options = &run->setup.options;
    const struct event_listener to_file = event_log_listener(&run->events);
    struct event_listener to_screen = run_hud_listener(&run->hud);
    struct event_listener listener = progress_listener(&run->progress);
    char source_commit[GIT_COMMIT_BYTES];
    git_source_commit(options->model, source_commit);
    listener.next = &to_file;
    to_screen.next = &listener;
    struct trial_options trial = {
        .client = client_options(run),
        .policy = run->setup.policy,
        .drift_limit_percent = drift_limit_percent(&run->setup),
        .predict = engine_predict_bytes,
        .card_bytes = card_bytes(run),
        .observe = observe_options(run),
        .origin =
            {
                .run_id = run->context.run_id,
                .command_json = context_command(&run->context),
                .environment_json = run->context.environment.data,
                .environment_id = run->context.environment_id,
                .source_commit = source_commit,
            },
    };
    trial.client.events = run->hud.hud != NULL ? &to_screen : &listener;
    run->sweep = (struct sweep){
        .setup = &run->setup, .options = &trial, .store = run->store, .known = &run->known};
    canary_init(&run->sweep.canary, (uint64_t)(options->canary_minutes * 60 * (double)NS_PER_S));
    run->sweep.canary.known = &run->known;
    enum status status = sweep_run(&run->sweep, ret_lost, err);
    run_hud_close(&run->hud);
    return status;
}

/* The record that did not get to the disk goes to stdout, so that it is not lost; in a form that it
 * would spoil to stderr. */
static void print_lost(struct run *run, const struct record *record)
{
    enum form form = (enum form)run->setup.options.form;
    bool is_to_stdout = form == FORM_TABLE || form == FORM_JSONL;
    progress_clear(&run->progress);
    command_complain(run->call,
                     "the record of cell %s trial %" PRIu64 " could not be written; "
                     "here it is, on standard %s",
                     record_string(record, FACT_CELL_ID), record_u64(record, FACT_TRIAL) + 1,
                     is_to_stdout ? "output" : "error");
    struct buf line;
    buf_init(&line, 1 << 22);
    record_format_json(record, &line);
    (void)fwrite(line.data, 1, line.length_bytes, is_to_stdout ? stdout : stderr);
    buf_release(&line);
}

static enum status take_result(void *context, size_t place, const struct record *record,
                               struct err *err)
{
    struct run *run = context;
    results_count(&run->tally, record);
    if (!form_is_for_people(run->writer.form)) {
        form_add_record(&run->writer, record);
        return STATUS_OK;
    }
    run->table.is_by_cell |= record_u64(record, FACT_TRIAL) > 0;
    return table_add(&run->table, place, record, err);
}

/* What the table and the exit code are of. */
static enum status collect_results(struct run *run, struct err *err)
{
    const struct results_wanted wanted = {
        .setup = &run->setup,
        .run_id = run->context.run_id,
        .environment_id = run->context.environment_id,
        .is_whole = run->setup.options.resume != RUN_RESUME_NO,
    };
    run->writer =
        (struct form_writer){.form = (enum form)run->setup.options.form, .out = &run->results};
    run->table.is_verbose = run->setup.options.is_verbose;
    run->table.is_by_cell = sweep_is_shuffled(&run->setup);
    return results_each(&wanted, take_result, run, err);
}

/* A table of what was measured must not look like the whole. */
static void append_not_started(const struct run *run, struct buf *out)
{
    uint64_t count = run->sweep.not_started_count;
    if (count == 0)
        return;
    const struct cell *first = &run->setup.plan.cells[run->sweep.not_started_place];
    buf_appendf(out,
                "Interrupted: %" PRIu64 " of %" PRIu64
                " cell%s not started, from %s %s seq %" PRIu32 " batch %" PRIu32
                " on; --resume measures them.\n",
                count, run->progress.cells_total, num_plural(run->progress.cells_total),
                cell_mode_name(first->mode), cell_precision_name(first->precision), first->seq_len,
                first->batch_size);
}

/* What there is to say beside the results. */
static void append_rest(const struct run *run, struct buf *out)
{
    const struct buf *changes = &run->sweep.canary.report;
    if (changes->length_bytes > 0) {
        buf_append(out, changes->data, changes->length_bytes);
        buf_append_char(out, '\n');
    }
    if (run->sweep.skipped_count > 0)
        buf_appendf(out, "Skipped %" PRIu64 " of %" PRIu64 " cell%s: finished records are there.\n",
                    run->sweep.skipped_count, run->progress.cells_total,
                    num_plural(run->progress.cells_total));
    append_not_started(run, out);
    buf_appendf(out, "%s/bench_results.jsonl\n%s/bench_results.csv\n", run->setup.out,
                run->setup.out);
    if (run->sweep.canary.readings_count > 0)
        buf_appendf(out, "%s/" CANARY_NAME "\n", run->setup.out);
}

static void print_results(struct run *run)
{
    struct buf rest;
    const struct run_options *options = &run->setup.options;
    buf_init(&rest, TABLE_BYTES_MAX);
    progress_clear(&run->progress);
    const struct grid_style style =
        terminal_style(options->color, STDOUT_FILENO, options->form == FORM_MARKDOWN);
    table_format(&run->table, &style, &run->results);
    if (!form_is_for_people((enum form)options->form))
        form_end(&run->writer);
    append_rest(run, &rest);
    if (options->form == FORM_TABLE) {
        if (run->table.rows_count > 0)
            buf_append_char(&run->results, '\n');
        buf_append(&run->results, rest.data, rest.length_bytes);
    } else if (!options->is_quiet) {
        (void)fwrite(rest.data, 1, rest.length_bytes, stderr);
    }
    run->results.failed |= rest.failed;
    buf_release(&rest);
    (void)command_print(run->call, &run->results);
}

static enum exit_code fail(struct run *run, enum status status, const struct err *err)
{
    progress_clear(&run->progress);
    return context_fail(&run->context, run->store != NULL, status, err);
}

static enum exit_code archive(struct run *run)
{
    char path[FILE_PATH_BYTES];
    struct err err = {0};
    enum status status = store_archive(run->setup.out, path, sizeof(path), &err);
    if (status != STATUS_OK)
        return fail(run, status, &err);
    if (run->setup.options.form == FORM_TABLE)
        printf("%s\n", path);
    else
        note(run, "%s", path);
    return EXIT_CODE_OK;
}

/* A noisy machine is no failure: it says how well a result is known, unless --strict asks. */
static enum exit_code judge(const struct run *run)
{
    const struct results_tally *tally = &run->tally;
    bool is_strict = run->setup.options.is_strict;
    bool is_all_well = tally->count == (is_strict ? tally->quiet_count : tally->valid_count);
    const struct context_outcome outcome = {
        .has_result = is_all_well || tally->figures_count > 0,
        .is_all_well = is_all_well,
        .is_interrupted = run->sweep.is_interrupted,
    };
    return context_exit_code(&outcome);
}

static enum exit_code run_sweep(struct run *run)
{
    struct err err = {0};
    struct record *lost = NULL;
    busy_notice(run->call, &run->setup.options);
    enum status status = prepare(run, &err);
    if (status == STATUS_OK)
        status = sweep(run, &lost, &err);
    if (lost != NULL)
        print_lost(run, lost);
    record_free(lost);
    const char *why_fresh = context_fork_failure(&run->context);
    if (why_fresh != NULL)
        note(run, "workers were started one by one, as with --fresh: %s", why_fresh);
    if (run->events.err.text[0] != '\0')
        note(run, "there are no further events: %s", run->events.err.text);
    if (run->known.err.text[0] != '\0')
        note(run, "what this run says of the machine is not kept: %s", run->known.err.text);
    if (run->store != NULL) {
        struct err unread = {0};
        enum status collected = collect_results(run, &unread);
        if (status == STATUS_OK && collected != STATUS_OK) {
            status = collected;
            err = unread;
        }
        print_results(run);
    }
    if (status != STATUS_OK)
        return fail(run, status, &err);
    enum exit_code code = judge(run);
    if (run->sweep.is_interrupted)
        note(run, "stopped by %s%s", signals_name(),
             run->setup.options.wants_zip ? "; no archive was made" : "");
    else if (run->setup.options.wants_zip && archive(run) != EXIT_CODE_OK)
        return EXIT_CODE_IO;
    return code;
}

/* What --resume would skip. An interpreter's packages belong to the environment, too; nothing is
 * started to ask for them, so records of such engines count whatever they were. */
static enum status find_finished(struct run *run, struct store_index *ret_finished, struct err *err)
{
    bool is_python = run->setup.ops != NULL && run->setup.ops->become != NULL;
    enum status status = context_open(&run->context, run->call, err);
    if (status != STATUS_OK)
        return status;
    if (!is_python)
        context_identify(&run->context);
    return index_read(run->setup.out, is_python, ret_finished, err);
}

static struct compare_call compare_call_of(const struct run *run)
{
    const struct run_options *options = &run->setup.options;
    return (struct compare_call){
        .base = options->compare_base,
        .now = run->setup.out,
        .has_gate = options->gate_percent > 0,
        .gate_percent = options->gate_percent,
        /* What --resume skipped is of an earlier run. */
        .takes_newest_run = options->resume == RUN_RESUME_NO,
        .comment_id = "run",
    };
}

/* A sweep that ended early or measured nothing has its own exit code; else a failed gate comes
 * first, then cells without a result. */
static enum exit_code compare_results(const struct run *run, enum exit_code code)
{
    const struct compare_call request = compare_call_of(run);
    if (request.base == NULL || (code != EXIT_CODE_OK && code != EXIT_CODE_SOME_NOT_OK))
        return code;
    printf("\n");
    enum exit_code compared = compare_call_run(run->call, &request);
    if (compared == EXIT_CODE_IO || compared == EXIT_CODE_GATE_FAILED)
        return compared;
    return request.has_gate && compared != EXIT_CODE_OK ? compared : code;
}

static enum status check_output(const struct run *run, struct err *err)
{
    const struct compare_call request = compare_call_of(run);
    if (request.base == NULL && request.has_gate)
        return ERR(err, STATUS_INVALID, "--gate needs --compare BASE");
    if (request.base != NULL && strcmp(request.base, "-") == 0)
        return ERR(err, STATUS_INVALID, "--compare reads no standard input; name a file");
    if (run->setup.options.form != FORM_TABLE && request.base != NULL)
        return ERR(err, STATUS_INVALID,
                   "--format has no form for --compare; `tokmark compare` has, after the run");
    if (run->setup.options.form != FORM_TABLE && run->setup.options.is_dry_run)
        return ERR(err, STATUS_INVALID, "--dry-run prints a table only; leave --format out");
    return request.base != NULL ? compare_call_check(&request, err) : STATUS_OK;
}

static enum exit_code print_dry_run(struct run *run)
{
    struct buf out;
    struct err err = {0};
    struct store_index finished = {0};
    bool can_resume = run->setup.options.resume != RUN_RESUME_NO;
    enum status status = fit_predict(&run->setup, run->context.environment.data, &err);
    if (status != STATUS_OK)
        return fail(run, status, &err);
    if (can_resume && find_finished(run, &finished, &err) != STATUS_OK)
        return fail(run, STATUS_IO, &err);
    const struct dry_run dry_run = {
        .setup = &run->setup,
        .finished = can_resume ? &finished : NULL,
        .environment_id = run->context.environment_id,
        .available_bytes = sysmem_available_bytes(),
        .card_bytes = card_bytes(run),
    };
    buf_init(&out, DRY_RUN_BYTES_MAX);
    dry_run_format(&dry_run, &out);
    index_release(&finished);
    return command_print(run->call, &out);
}

static void release(struct run *run)
{
    table_release(&run->table);
    buf_release(&run->results);
    canary_release(&run->sweep.canary);
    event_log_close(&run->events);
    store_close(run->store);
    known_release(&run->known);
    context_close(&run->context);
    run_setup_release(&run->setup);
}

enum exit_code run_command(const struct invocation *call)
{
    struct run_options options = {0};
    struct options_seen seen;
    enum exit_code code;
    if (!command_parse(call, &options, &seen, &code))
        return code;
    struct options_table table = command_options(call->command, call->program);
    struct err err = {0};
    struct run run = {.call = call};
    buf_init(&run.results, TABLE_BYTES_MAX);
    options.finds_sizes = true;
    enum status status = run_setup_make(&options, &table, &seen, &run.setup, &err);
    if (status == STATUS_OK)
        status = check_output(&run, &err);
    if (status != STATUS_OK) {
        command_complain(call, "%s", err.text);
        run_setup_release(&run.setup);
        return status == STATUS_NOMEM ? EXIT_CODE_IO : EXIT_CODE_USAGE;
    }
    progress_init(&run.progress, progress_style(&options), run.setup.plan.cells_count,
                  options.trials);
    code = options.is_dry_run ? print_dry_run(&run) : compare_results(&run, run_sweep(&run));
    event_log_end(&run.events, (int)code);
    release(&run);
    return code;
}
