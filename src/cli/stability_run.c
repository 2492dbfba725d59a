#include "cli/stability_run.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/num.h"
#include "cli/render/stability_report.h"
#include "cli/render/terminal.h"
#include "cli/sides.h"
#include "cli/signals.h"
#include "cli/stability_base.h"
#include "cli/stability_twin.h"
#include "data/sample_text.h"
#include "data/tokens.h"

#define ROWS_MAX   (CHECK_SIDES_MAX * CHECK_PRECISIONS_MAX)
#define CSV_NAME   "stability.csv"
#define TELL_NS    (5 * NS_PER_S)
#define TEXT_BYTES 65536

/* What a whole call is made of, so that it can be released in one place. Borrowed, where not owned:
 * for the call. */
struct stability {
    const struct invocation *call;
    const struct stability_options *options;
    struct check_setup *setup;
    struct sides sides;
    struct stability_row *rows; /* owned: ROWS_MAX */
    size_t rows_count;
    uint64_t told_ns;           /* when progress was told */
    struct stability_twin twin; /* of the reference, once one is wanted */
};

/* --- what is trained on --- */

static enum status write_text(void *context, int fd, struct err *err)
{
    const struct buf *text = context;
    return file_write_fd(fd, text->data, text->length_bytes, err);
}

static enum status replace_with(const char *path, struct buf *text, struct err *err)
{
    return text->failed ? ERR(err, STATUS_NOMEM, "out of memory")
                        : file_replace(path, write_text, text, err);
}

/* The text of the program's own, for every side. */
static enum status write_sample(struct stability *stability, struct err *err)
{
    struct check_setup *setup = stability->setup;
    char path[FILE_PATH_BYTES];
    char hash[HASH_ID_BYTES];
    struct buf text;
    buf_init(&text, TEXT_BYTES);
    sample_text_append(&text);
    enum status status = sides_path(&stability->sides, "text", path, err);
    if (status == STATUS_OK)
        status = replace_with(path, &text, err);
    buf_release(&text);
    if (status == STATUS_OK)
        status = tokens_hash_file(path, hash, err);
    for (size_t i = 0; status == STATUS_OK && i < setup->sides_count; i++) {
        struct cell *cell = &setup->sides[i].cell;
        cell->data = CELL_DATA_TEXT;
        memcpy(cell->data_hash, hash, sizeof(hash));
        status = file_path_to_text(path, cell->data_path, sizeof(cell->data_path), err);
    }
    return status;
}

static enum status prepare(struct stability *stability, struct err *err)
{
    struct check_setup *setup = stability->setup;
    struct err why = {0};
    stability->rows = calloc(ROWS_MAX, sizeof(*stability->rows));
    if (stability->rows == NULL)
        return ERR(err, STATUS_NOMEM, "out of memory");
    TRY(sides_open(&stability->sides, JOURNAL_STABILITY, err));
    enum status status = STATUS_OK;
    if (setup->options.data == NULL)
        status = write_sample(stability, &why);
    /* A model of the user's makes weights of its own. */
    if (status == STATUS_OK && check_setup_is_preset(&setup->sides[0].cell))
        status = sides_write_weights(&stability->sides, &why);
    return status == STATUS_OK ? status
                               : ERR(err, status, "cannot write what is trained on to '%s': %s",
                                     stability->sides.folder, why.text);
}

/* --- one engine in one precision --- */

static void tell(void *context, uint32_t step, double loss)
{
    struct stability *stability = context;
    uint64_t now_ns = clock_now_ns();
    if (stability->setup->options.run.is_quiet || now_ns - stability->told_ns < TELL_NS)
        return;
    stability->told_ns = now_ns;
    command_complain(stability->call, "  step %" PRIu32 " of %" PRIu64 ", loss %.4g", step,
                     stability->options->steps, loss);
}

/* The first that is stable. */
static const struct stability_row *first_good(const struct stability *stability)
{
    for (size_t i = 0; i < stability->rows_count; i++)
        if (stability->rows[i].verdict == VERDICT_OK)
            return &stability->rows[i];
    return NULL;
}

static bool is_lower(enum cell_precision a, enum cell_precision b)
{
    return curve_tolerance(a) > curve_tolerance(b);
}

/* Is a step further apart than it may be, or a loss no number? */
static bool is_over(const struct curve_difference *difference)
{
    return difference->over_step > 0 || isnan(difference->loss);
}

/* `twin`: the reference's; NULL or without growth = a constant tolerance. */
static void find_difference(const struct stability *stability, enum cell_precision other,
                            const struct curve *reference, const struct stability_twin *twin,
                            struct stability_row *row)
{
    struct curve curve = training_curve(&row->training);
    enum cell_precision lower = is_lower(other, row->cell.precision) ? other : row->cell.precision;
    struct curve_allowance allowance = {.least = stability->options->tolerance_percent > 0
                                                     ? stability->options->tolerance_percent / 100.0
                                                     : curve_tolerance(lower)};
    if (twin != NULL && twin->growth != NULL) {
        allowance.growth = twin->growth;
        allowance.growth_count = twin->growth_count;
    }
    curve_compare(&curve, reference, &allowance, &row->difference);
    row->has_reference = true;
    row->tolerance = row->difference.allowed;
    size_t step = row->difference.loss_step;
    row->rounding = step > 0 && step <= allowance.growth_count ? allowance.growth[step - 1] : NAN;
}

/* `twin` as in find_difference(); one that has failed or was stopped explains nothing. */
static void judge_difference(const struct stability_twin *twin, struct stability_row *row)
{
    const struct curve_difference *difference = &row->difference;
    if (!is_over(difference))
        return;
    if (twin != NULL && twin->verdict == VERDICT_INTERRUPTED) {
        row->verdict = VERDICT_INTERRUPTED;
        reasons_add(&row->reasons, "interrupted",
                    "stopped while it was measured whether rounding explains the difference");
        return;
    }
    row->verdict = VERDICT_INVALID;
    reasons_add(&row->reasons, "over_tolerance",
                "the loss of step %zu is %.2g apart from that of %.200s, the tolerance is %.3g%s",
                difference->over_step, difference->over, row->reference, difference->over_allowed,
                twin == NULL                  ? ""
                : twin->verdict == VERDICT_OK ? " there: rounding explains less"
                                              : "; what rounding makes of it is not known");
    if (twin != NULL && twin->verdict != VERDICT_OK)
        reasons_add(&row->reasons, "rounding_not_known",
                    "the reference, trained again, ended as %s", verdict_name(twin->verdict));
}

static enum status compare_with_base(const struct stability *stability, struct stability_row *row,
                                     struct err *err)
{
    struct stability_base base = {0};
    TRY(stability_base_find(stability->options->base, &row->cell, &base, err));
    if (base.losses == NULL) {
        row->verdict = VERDICT_UNSUPPORTED;
        reasons_add(&row->reasons, "no_reference",
                    "'%.200s' has no stable training of this engine, precision, model, weights and "
                    "tokens",
                    stability->options->base);
    } else {
        const struct curve reference = stability_base_curve(&base);
        (void)snprintf(row->reference, sizeof(row->reference), "%.200s %s of run %s",
                       row->side->engine, cell_precision_name(row->cell.precision), base.run_id);
        find_difference(stability, row->cell.precision, &reference, NULL, row);
        judge_difference(NULL, row);
    }
    stability_base_release(&base);
    return STATUS_OK;
}

static struct training_job job_of(struct stability *stability, const struct stability_row *row,
                                  const char *log_path)
{
    return (struct training_job){.cell = &row->cell,
                                 .log_path = log_path,
                                 .run_id = stability->sides.context.run_id,
                                 .steps_count = (uint32_t)stability->options->steps,
                                 .tell = tell,
                                 .tell_context = stability};
}

/* What differs more than usual may be rounding that grows, which the reference's twins show. In
 * lower precisions the last place of the weights is none of the compute type's. */
static bool is_twin_wanted(const struct stability *stability, const struct stability_row *first,
                           const struct stability_row *row)
{
    return row->difference.over_step > 0 && isfinite(row->difference.loss) &&
           stability->options->tolerance_percent == 0 && first->cell.weights_path[0] != '\0' &&
           first->cell.precision == CELL_PRECISION_FP32 &&
           row->cell.precision == CELL_PRECISION_FP32;
}

static enum status train_twin(struct stability *stability, const struct stability_row *first,
                              struct err *err)
{
    char log_path[FILE_PATH_BYTES];
    if (stability->twin.of != NULL)
        return STATUS_OK;
    TRY(sides_log_path(&stability->sides, first->side, first->cell.precision, log_path, err));
    if (!stability->setup->options.run.is_quiet)
        command_complain(stability->call,
                         "more than the tolerance; %.200s again, from weights that differ in their "
                         "last place: how far does rounding grow?",
                         first->side->engine);
    const struct client_options client = sides_client(&stability->sides, first->side);
    const struct training_job job = job_of(stability, first, log_path);
    stability->told_ns = clock_now_ns();
    return stability_twin_train(&stability->twin, &stability->sides, &job, &client,
                                &first->training, err);
}

static enum status compare(struct stability *stability, struct stability_row *row, struct err *err)
{
    if (row->verdict != VERDICT_OK)
        return STATUS_OK;
    if (stability->options->base != NULL)
        return compare_with_base(stability, row, err);
    const struct stability_row *first = first_good(stability);
    if (first == NULL)
        return STATUS_OK;
    const struct curve reference = training_curve(&first->training);
    (void)snprintf(row->reference, sizeof(row->reference), "%.200s %s", first->side->engine,
                   cell_precision_name(first->cell.precision));
    const struct stability_twin *twin = NULL;
    find_difference(stability, first->cell.precision, &reference, twin, row);
    if (is_twin_wanted(stability, first, row)) {
        TRY(train_twin(stability, first, err));
        twin = &stability->twin;
        if (twin->verdict == VERDICT_OK)
            find_difference(stability, first->cell.precision, &reference, twin, row);
    }
    judge_difference(twin, row);
    return STATUS_OK;
}

static struct stability_facts facts_of(const struct stability *stability)
{
    const struct check_setup *setup = stability->setup;
    return (struct stability_facts){
        .run_id = stability->sides.context.run_id,
        .environment_id = stability->sides.context.environment_id,
        .command_json = context_command(&stability->sides.context),
        .data_name =
            setup->options.data == NULL ? SAMPLE_TEXT_NAME : setup->sides[0].cell.data_path,
        .steps_count = (uint32_t)stability->options->steps,
    };
}

static enum status store_row(struct stability *stability, const struct stability_row *row,
                             struct err *err)
{
    const struct stability_facts facts = facts_of(stability);
    struct buf line;
    buf_init(&line, STABILITY_LINE_BYTES_MAX);
    stability_report_line(&facts, row, &line);
    enum status status =
        line.failed ? ERR(err, STATUS_NOMEM, "out of memory")
                    : journal_append(&stability->sides.journal, line.data, line.length_bytes, err);
    buf_release(&line);
    return status;
}

static enum status train(struct stability *stability, const char *log_path,
                         struct stability_row *row, struct err *err)
{
    const struct client_options client = sides_client(&stability->sides, row->side);
    const struct training_job job = job_of(stability, row, log_path);
    if (!stability->setup->options.run.is_quiet)
        command_complain(stability->call, "%.200s %s", row->side->engine,
                         cell_precision_name(row->cell.precision));
    stability->told_ns = clock_now_ns();
    return training_run(&job, &client, &row->training, err);
}

static enum status run_row(struct stability *stability, const struct check_side *side,
                           enum cell_precision precision, struct err *err)
{
    char log_path[FILE_PATH_BYTES];
    ASSERT(stability->rows_count < ROWS_MAX);
    struct stability_row *row = &stability->rows[stability->rows_count];
    *row =
        (struct stability_row){.side = side, .cell = side->cell, .tolerance = NAN, .rounding = NAN};
    row->cell.precision = precision;
    TRY(sides_log_path(&stability->sides, side, precision, log_path, err));
    TRY(train(stability, log_path, row, err));
    row->verdict = row->training.run.verdict;
    row->reasons = row->training.run.reasons;
    enum status status = compare(stability, row, err);
    /* From here on the row is released with the others. */
    stability->rows_count++;
    return status == STATUS_OK ? store_row(stability, row, err) : status;
}

static enum status run_sides(struct stability *stability, struct err *err)
{
    const struct check_setup *setup = stability->setup;
    for (size_t i = 0; i < setup->sides_count; i++) {
        fork_pool_renew(stability->sides.context.fork_pool);
        for (size_t at = 0; at < setup->options.precisions.count; at++) {
            if (*signals_interrupt() != 0)
                return STATUS_OK;
            enum cell_precision precision =
                (enum cell_precision)setup->options.precisions.values[at];
            TRY(run_row(stability, &setup->sides[i], precision, err));
        }
    }
    return STATUS_OK;
}

/* --- the end --- */

static enum exit_code exit_code_of(const struct stability *stability)
{
    bool has_result = false;
    bool has_failed = false;
    for (size_t i = 0; i < stability->rows_count; i++) {
        const struct stability_row *row = &stability->rows[i];
        has_result |= row->training.steps_done > 0 && row->verdict != VERDICT_UNSUPPORTED;
        has_failed |= row->verdict != VERDICT_OK && row->verdict != VERDICT_UNSUPPORTED;
    }
    const struct context_outcome outcome = {
        .has_result = has_result,
        .is_all_well = true,
        .has_failed_gate = has_failed,
        .is_interrupted = *signals_interrupt() != 0,
    };
    return context_exit_code(&outcome);
}

/* The steps of this call's rows. */
static enum status write_csv(const struct stability *stability, struct err *err)
{
    const struct stability_facts facts = facts_of(stability);
    char path[FILE_PATH_BYTES];
    struct buf text;
    TRY(file_join(stability->setup->out, CSV_NAME, path, err));
    buf_init(&text, STABILITY_TEXT_BYTES_MAX);
    stability_report_csv(&facts, NULL, &text);
    for (size_t i = 0; i < stability->rows_count; i++)
        stability_report_csv(&facts, &stability->rows[i], &text);
    enum status status = replace_with(path, &text, err);
    buf_release(&text);
    return status;
}

static void print_results(const struct stability *stability)
{
    const struct check_setup *setup = stability->setup;
    const struct cell *cell = &setup->sides[0].cell;
    struct buf out;
    buf_init(&out, STABILITY_LINE_BYTES_MAX);
    buf_appendf(&out,
                "%s, %" PRIu64 " step%s of AdamW at a rate of %g, seq %" PRIu32 ", batch %" PRIu32
                ", on %s\n\n",
                cell->model.name, stability->options->steps, num_plural(stability->options->steps),
                cell_learning_rate(cell), cell->seq_len, cell->batch_size,
                facts_of(stability).data_name);
    const struct grid_style style = terminal_style(setup->options.run.color, STDOUT_FILENO, false);
    stability_report_table(stability->rows, stability->rows_count, &style, &out);
    buf_appendf(&out, "\n%s/%s\n%s/%s\n", setup->out, JOURNAL_STABILITY, setup->out, CSV_NAME);
    if (setup->options.is_kept)
        buf_appendf(&out, "%s\n", stability->sides.folder);
    (void)command_print(stability->call, &out);
}

static void release(struct stability *stability)
{
    sides_close(&stability->sides);
    for (size_t i = 0; i < stability->rows_count; i++)
        training_release(&stability->rows[i].training);
    free(stability->rows);
    stability_twin_release(&stability->twin);
}

enum exit_code stability_run_all(const struct invocation *call,
                                 const struct stability_options *options, struct check_setup *setup)
{
    struct err err = {0};
    struct stability stability = {.call = call,
                                  .options = options,
                                  .setup = setup,
                                  .sides = sides_of(call, setup, "stability")};
    stability.sides.has_several = setup->options.precisions.count > 1;
    enum status status = prepare(&stability, &err);
    if (status == STATUS_OK)
        status = run_sides(&stability, &err);
    if (status == STATUS_OK && stability.rows_count > 0)
        status = write_csv(&stability, &err);
    if (stability.rows_count > 0)
        print_results(&stability);
    enum exit_code code = status == STATUS_OK ? exit_code_of(&stability)
                                              : context_fail(&stability.sides.context,
                                                             stability.sides.is_open, status, &err);
    release(&stability);
    return code;
}
