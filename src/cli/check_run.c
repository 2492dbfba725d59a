#include "cli/check_run.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/num.h"
#include "cli/render/check_report.h"
#include "cli/render/terminal.h"
#include "cli/sides.h"
#include "cli/signals.h"
#include "data/check_files.h"
#include "store/journal.h"

#define ROWS_MAX        (CHECK_SIDES_MAX * (1 + CHECK_PRECISIONS_MAX))
#define FILE_NAME_BYTES 64

/* What a whole call is made of, so that it can be released in one place. Borrowed, where not owned:
 * for the call. */
struct check {
    const struct invocation *call;
    struct check_setup *setup;
    struct sides sides;
    char inputs_path[FILE_PATH_BYTES];
    struct check_row *rows; /* owned: ROWS_MAX */
    size_t rows_count;
};

/* The weights of sides that were given none, and the batch. */
static enum status make_files(struct check *check, struct err *err)
{
    struct err why = {0};
    enum status status = sides_path(&check->sides, "inputs.safetensors", check->inputs_path, &why);
    if (status == STATUS_OK)
        status = check_files_batch(check->inputs_path, &check->setup->sides[0].cell, &why);
    if (status == STATUS_OK)
        status = sides_write_weights(&check->sides, &why);
    return status == STATUS_OK ? status
                               : ERR(err, status, "cannot write what is compared to '%s': %s",
                                     check->sides.folder, why.text);
}

static enum status prepare(struct check *check, struct err *err)
{
    check->rows = calloc(ROWS_MAX, sizeof(*check->rows));
    if (check->rows == NULL)
        return ERR(err, STATUS_NOMEM, "out of memory");
    TRY(sides_open(&check->sides, JOURNAL_CHECKS, err));
    return make_files(check, err);
}

/* --- one engine in one precision --- */

/* The files of one engine in one precision. */
struct places {
    struct cell cell;
    char output_path[FILE_PATH_BYTES];
    char steps_path[FILE_PATH_BYTES];
    char log_path[FILE_PATH_BYTES];
    struct check_job job; /* points into the others */
};

static enum status output_path(const struct check *check, const struct check_row *row,
                               const char *suffix, char path[FILE_PATH_BYTES], struct err *err)
{
    char name[FILE_NAME_BYTES];
    (void)snprintf(name, sizeof(name), "%zu.%s%s.safetensors",
                   (size_t)(row->side - check->setup->sides), cell_precision_name(row->precision),
                   suffix);
    return sides_path(&check->sides, name, path, err);
}

static enum status places_make(const struct check *check, const struct check_row *row,
                               struct places *ret, struct err *err)
{
    uint32_t train_steps = (uint32_t)check->setup->options.train_steps;
    ret->cell = row->side->cell;
    ret->cell.precision = row->precision;
    enum status status = output_path(check, row, "", ret->output_path, err);
    if (status == STATUS_OK)
        status = output_path(check, row, ".steps", ret->steps_path, err);
    if (status == STATUS_OK)
        status = sides_log_path(&check->sides, row->side, row->precision, ret->log_path, err);
    ret->job = (struct check_job){.cell = &ret->cell,
                                  .inputs_path = check->inputs_path,
                                  .output_path = ret->output_path,
                                  .steps_path = train_steps > 0 ? ret->steps_path : NULL,
                                  .log_path = ret->log_path,
                                  .run_id = check->sides.context.run_id,
                                  .train_steps = train_steps};
    return status;
}

static void places_clean(const struct check *check, const struct places *places)
{
    if (check->setup->options.is_kept)
        return;
    (void)unlink(places->output_path);
    (void)unlink(places->steps_path);
}

static enum status run_worker(const struct check *check, struct check_row *row,
                              const struct check_job *job, struct err *err)
{
    const struct client_options client = sides_client(&check->sides, row->side);
    if (!check->setup->options.run.is_quiet)
        command_complain(check->call, "%.200s %s", row->side->engine,
                         cell_precision_name(row->precision));
    return check_run_worker(job, &client, &row->run, &row->has_weights, err);
}

/* Compares what a good run wrote with the reference's, and says what came of it. */
static enum status judge(const struct check *check, const struct check_row *reference,
                         const struct check_job *job, struct check_row *row, struct err *err)
{
    if (reference == NULL || row->verdict != VERDICT_OK)
        return STATUS_OK;
    if (reference->run.verdict != VERDICT_OK) {
        row->verdict = VERDICT_UNSUPPORTED;
        reasons_add(&row->reasons, "no_reference",
                    "%.200s fp32, which it would be compared with, is %s", reference->side->engine,
                    verdict_name(reference->run.verdict));
        return STATUS_OK;
    }
    struct places due;
    enum status status = places_make(check, reference, &due, err);
    bool has_weights = row->has_weights && reference->has_weights;
    if (status == STATUS_OK)
        status = check_output_compare(job, &due.job, has_weights, &row->comparison, err);
    if (status != STATUS_OK)
        return status;
    row->is_compared = true;
    if (!check_comparison_has_failed(&row->comparison))
        return STATUS_OK;
    uint64_t over_count = 0;
    uint64_t tensors_count = 0;
    for (int i = 0; i < PARITY_KINDS_COUNT; i++) {
        over_count += row->comparison.kinds[i].over_count;
        tensors_count += row->comparison.kinds[i].tensors_count;
    }
    row->verdict = VERDICT_INVALID;
    reasons_add(&row->reasons, "over_tolerance",
                "over tolerance against %.200s fp32: %" PRIu64 " of %" PRIu64 " tensor%s",
                reference->side->engine, over_count, tensors_count, num_plural(tensors_count));
    return STATUS_OK;
}

static enum status store_row(struct check *check, const struct check_row *row, struct err *err)
{
    const struct check_facts facts = {
        .setup = check->setup,
        .run_id = check->sides.context.run_id,
        .environment_id = check->sides.context.environment_id,
        .command_json = context_command(&check->sides.context),
    };
    struct buf line;
    buf_init(&line, CHECK_REPORT_BYTES_MAX);
    check_report_line(&facts, row, &line);
    enum status status =
        line.failed ? ERR(err, STATUS_NOMEM, "out of memory")
                    : journal_append(&check->sides.journal, line.data, line.length_bytes, err);
    buf_release(&line);
    return status;
}

/* `reference`: the row that this one is compared with; NULL for a reference. */
static enum status run_row(struct check *check, const struct check_side *side,
                           enum cell_precision precision, const struct check_row *reference,
                           struct check_row **ret_row, struct err *err)
{
    ASSERT(check->rows_count < ROWS_MAX);
    struct check_row *row = &check->rows[check->rows_count];
    *row = (struct check_row){.side = side,
                              .reference = reference != NULL ? reference->side : NULL,
                              .precision = precision};
    struct places places;
    enum status status = places_make(check, row, &places, err);
    if (status == STATUS_OK)
        status = run_worker(check, row, &places.job, err);
    if (status != STATUS_OK)
        return status;
    row->verdict = row->run.verdict;
    row->reasons = row->run.reasons;
    status = judge(check, reference, &places.job, row, err);
    /* The lower precisions' outputs are not needed again; fp32's are. */
    if (precision != CELL_PRECISION_FP32)
        places_clean(check, &places);
    if (status == STATUS_OK)
        status = store_row(check, row, err);
    if (status == STATUS_OK)
        check->rows_count++;
    *ret_row = row;
    return status;
}

/* An engine's fp32, then what it was asked for besides. */
static enum status run_side(struct check *check, const struct check_side *side,
                            const struct check_row *first, struct check_row **ret_fp32,
                            struct err *err)
{
    struct check_setup *setup = check->setup;
    bool is_held = first != NULL && check_setup_wants(setup, CELL_PRECISION_FP32);
    struct check_row *row = NULL;
    enum status status =
        run_row(check, side, CELL_PRECISION_FP32, is_held ? first : NULL, ret_fp32, err);
    for (size_t i = 0; status == STATUS_OK && i < setup->options.precisions.count; i++) {
        enum cell_precision precision = (enum cell_precision)setup->options.precisions.values[i];
        if (*signals_interrupt() != 0)
            break;
        if (precision != CELL_PRECISION_FP32)
            status = run_row(check, side, precision, *ret_fp32, &row, err);
    }
    return status;
}

static enum status run_sides(struct check *check, struct err *err)
{
    const struct check_setup *setup = check->setup;
    struct check_row *first = NULL;
    enum status status = STATUS_OK;
    for (size_t i = 0; status == STATUS_OK && i < setup->sides_count; i++) {
        struct check_row *fp32 = NULL;
        if (*signals_interrupt() != 0)
            break;
        fork_pool_renew(check->sides.context.fork_pool);
        status = run_side(check, &setup->sides[i], first, &fp32, err);
        struct places places;
        if (i > 0 && status == STATUS_OK && places_make(check, fp32, &places, err) == STATUS_OK)
            places_clean(check, &places);
        if (i == 0)
            first = fp32;
    }
    return status;
}

/* --- the end --- */

static enum exit_code exit_code_of(const struct check *check)
{
    size_t compared_count = 0;
    bool has_failed = false;
    for (size_t i = 0; i < check->rows_count; i++) {
        const struct check_row *row = &check->rows[i];
        compared_count += row->is_compared;
        has_failed |= row->verdict != VERDICT_OK && row->verdict != VERDICT_UNSUPPORTED;
    }
    const struct context_outcome outcome = {
        .has_result = compared_count > 0,
        .is_all_well = true,
        .has_failed_gate = has_failed,
        .is_interrupted = *signals_interrupt() != 0,
    };
    return context_exit_code(&outcome);
}

static void print_results(const struct check *check)
{
    struct buf out;
    buf_init(&out, CHECK_REPORT_BYTES_MAX);
    const struct grid_style style =
        terminal_style(check->setup->options.run.color, STDOUT_FILENO, false);
    check_report_table(check->rows, check->rows_count, &style, &out);
    buf_appendf(&out, "\n%s/%s\n", check->setup->out, JOURNAL_CHECKS);
    if (check->setup->options.is_kept)
        buf_appendf(&out, "%s\n", check->sides.folder);
    (void)command_print(check->call, &out);
}

static void release(struct check *check)
{
    sides_close(&check->sides);
    free(check->rows);
}

enum exit_code check_run_all(const struct invocation *call, struct check_setup *setup)
{
    struct err err = {0};
    struct check check = {.call = call, .setup = setup, .sides = sides_of(call, setup, "check")};
    /* fp32 always runs, so any other precision makes it a second worker. */
    check.sides.has_several =
        setup->options.precisions.count > 1 || !check_setup_wants(setup, CELL_PRECISION_FP32);
    enum status status = prepare(&check, &err);
    if (status == STATUS_OK)
        status = run_sides(&check, &err);
    const char *why_fresh = context_fork_failure(&check.sides.context);
    if (why_fresh != NULL && !setup->options.run.is_quiet)
        command_complain(call, "workers were started one by one, as with --fresh: %s", why_fresh);
    if (check.rows_count > 0)
        print_results(&check);
    enum exit_code code =
        status == STATUS_OK ? exit_code_of(&check)
                            : context_fail(&check.sides.context, check.sides.is_open, status, &err);
    release(&check);
    return code;
}
