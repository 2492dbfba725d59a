#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/num.h"
#include "cli/ab_bench.h"
#include "cli/ab_floor.h"
#include "cli/render/terminal.h"
#include "cli/signals.h"

#define GROUP_SIDES          "What to compare; flags below are common to both sides"
#define GROUP_CERTAIN        "How certain"
#define GROUP_RESULT         "Result"
#define AB_DRY_RUN_BYTES_MAX (1 << 20)

#define TARGET(member)       .offset = offsetof(struct ab_options, member)

static const struct option ab_rows[] = {
    {.name = "a",
     .type = OPTION_TEXT,
     TARGET(flags[PAIR_A]),
     .arg = "FLAGS",
     .takes_flags = true,
     .group = GROUP_SIDES,
     .help = "side A: flags added to the common ones, as one word: '--engine native'; also "
             "--binary PATH (another tokmark program) and --rev REV (a git revision of the "
             "current folder)"},
    {.name = "b",
     .type = OPTION_TEXT,
     TARGET(flags[PAIR_B]),
     .arg = "FLAGS",
     .takes_flags = true,
     .group = GROUP_SIDES,
     .help = "side B; a side that is left out is the common flags alone"},
    {.name = "threshold",
     .type = OPTION_REAL,
     TARGET(threshold_percent),
     .arg = "PCT",
     .def = "1",
     .min = 1,
     .max = 10000,
     .group = GROUP_CERTAIN,
     .help = "smallest difference that matters; under a noise floor above it, where `tokmark "
             "noise` has stored one, only a difference beyond the floor is decided"},
    AB_ROW_ROUNDS(GROUP_CERTAIN),
    {.name = "starts",
     .type = OPTION_NUMBER,
     TARGET(starts),
     .arg = "N",
     .def = "20",
     .min = 1,
     .max = SEQUENCE_STARTS_MAX,
     .group = GROUP_CERTAIN,
     .help =
         "fresh workers on both sides N times at most (with --rounds: exactly), as two processes "
         "of one program differ; with 1 that difference counts as the sides'"},
    AB_ROW_MAX_TIME(GROUP_CERTAIN),
    {.name = "gate",
     .type = OPTION_FLAG,
     TARGET(is_gated),
     .group = GROUP_RESULT,
     .help = "exit with 1 when any B is SLOWER"},
    AB_ROW_OUT(GROUP_RESULT),
    AB_ROW_DRY_RUN(GROUP_RESULT),
    FORM_ROW(offsetof(struct ab_options, run.form), GROUP_RESULT),
    COLOR_ROW(offsetof(struct ab_options, run.color), GROUP_RESULT, COLOR_HELP_TABLE),
};

/* --- the call --- */

static enum status compare_all(struct ab_bench *bench, struct ab_row *rows, size_t *ret_count,
                               struct err *err)
{
    const struct ab_options *options = &bench->setup->options;
    for (size_t i = 0; i < bench->setup->pairs_count && *signals_interrupt() == 0; i++) {
        struct ab_row *row = &rows[i];
        ab_floor_find(bench, i, &row->floor);
        row->threshold_percent = options->threshold_percent;
        if (row->floor.is_known && row->floor.percent > row->threshold_percent)
            ab_bench_note(bench,
                          "the noise floor, %.3g %%, is above the threshold, %.3g %%: only a "
                          "difference beyond the floor can be decided",
                          row->floor.percent, row->threshold_percent);
        enum status status = ab_bench_compare(bench, i, row, err);
        if (status != STATUS_OK)
            return status;
        *ret_count = i + 1;
    }
    return STATUS_OK;
}

static enum exit_code judge(const struct ab_setup *setup, const struct ab_row *rows, size_t count)
{
    size_t compared_count = 0;
    bool has_slower = false;
    bool has_undecided = count < setup->pairs_count;
    for (size_t i = 0; i < count; i++) {
        compared_count += rows[i].result.rounds_run_count > 0;
        has_slower |= rows[i].result.outcome == COMPARE_OUTCOME_SLOWER;
        has_undecided |= rows[i].result.outcome == COMPARE_OUTCOME_UNDECIDED;
    }
    const struct context_outcome outcome = {
        .has_result = compared_count > 0,
        .is_all_well = !has_undecided,
        .has_failed_gate = setup->options.is_gated && has_slower,
        .is_interrupted = *signals_interrupt() != 0,
    };
    return context_exit_code(&outcome);
}

static void print_results(struct ab_bench *bench, const struct ab_row *rows, size_t count,
                          struct buf *results)
{
    const struct run_options *options = &bench->setup->options.run;
    const struct grid_style style =
        terminal_style(options->color, STDOUT_FILENO, options->form == FORM_MARKDOWN);
    ab_progress_clear(&bench->progress);
    if (form_is_for_people((enum form)options->form))
        ab_report_table(rows, count, &style, results);
    else
        form_end(bench->writer);
    if (options->form == FORM_TABLE)
        buf_appendf(results, "\n%s/%s\n", bench->setup->out, JOURNAL_AB);
    else if (!options->is_quiet)
        fprintf(stderr, "%s/%s\n", bench->setup->out, JOURNAL_AB);
    (void)command_print(bench->call, results);
}

static enum exit_code compare_and_report(const struct invocation *call, struct ab_setup *setup)
{
    struct err err = {0};
    struct ab_bench bench;
    struct buf results;
    size_t count = 0;
    buf_init(&results, AB_REPORT_BYTES_MAX);
    struct form_writer writer = {.form = (enum form)setup->options.run.form, .out = &results};
    struct ab_row *rows = calloc(setup->pairs_count, sizeof(*rows));
    enum status status = ab_bench_open(&bench, call, setup, "ab", setup->pairs_count, &err);
    bench.writer = form_is_for_people(writer.form) ? NULL : &writer;
    if (status == STATUS_OK && rows == NULL)
        status = ERR(&err, STATUS_NOMEM, "no memory for %zu comparisons", setup->pairs_count);
    if (status == STATUS_OK)
        status = compare_all(&bench, rows, &count, &err);
    if (count > 0)
        print_results(&bench, rows, count, &results);
    enum exit_code code =
        status == STATUS_OK ? judge(setup, rows, count) : ab_bench_fail(&bench, status, &err);
    ab_bench_close(&bench);
    buf_release(&results);
    free(rows);
    return code;
}

static enum exit_code print_dry_run(const struct invocation *call, struct ab_setup *setup)
{
    struct buf out;
    buf_init(&out, AB_DRY_RUN_BYTES_MAX);
    for (size_t i = 0; i < setup->pairs_count; i++) {
        for (int side = 0; side < PAIR_SIDES; side++) {
            const struct ab_side *from = &setup->sides[side];
            const struct cell *cell = &from->run.plan.cells[i];
            buf_appendf(&out,
                        "%2zu %s  %s %s on %s, %s %s seq %" PRIu32 " batch %" PRIu32 "%s%.12s\n",
                        i + 1, pair_title((enum pair_name)side), cell->framework, cell->model.name,
                        cell->device, cell_mode_name(cell->mode),
                        cell_precision_name(cell->precision), cell->seq_len, cell->batch_size,
                        from->rev.commit[0] != '\0' ? ", revision " : "", from->rev.commit);
        }
    }
    buf_appendf(&out, "\n%zu comparison%s, threshold %g %%, ", setup->pairs_count,
                num_plural(setup->pairs_count), setup->options.threshold_percent);
    ab_setup_describe_time(&setup->options, &out);
    buf_append_char(&out, '\n');
    buf_append_text(&out, "Dry run: nothing was started or written.\n");
    return command_print(call, &out);
}

static enum status check_sides(const struct ab_options *options, struct err *err)
{
    if (options->flags[PAIR_A] == NULL && options->flags[PAIR_B] == NULL)
        return ERR(err, STATUS_INVALID,
                   "needs two sides: --a FLAGS, --b FLAGS or both; `tokmark noise` compares a cell "
                   "with itself");
    if (options->run.form != FORM_TABLE && options->run.is_dry_run)
        return ERR(err, STATUS_INVALID, "--dry-run prints a table only; leave --format out");
    return STATUS_OK;
}

static enum exit_code run_ab(const struct invocation *call)
{
    struct ab_options options = {0};
    struct options_seen seen;
    enum exit_code code;
    if (!command_parse(call, &options, &seen, &code))
        return code;
    struct err err = {0};
    if (check_sides(&options, &err) != STATUS_OK) {
        command_complain(call, "%s", err.text);
        return EXIT_CODE_USAGE;
    }
    return ab_setup_run(call, &options, &seen, print_dry_run, compare_and_report);
}

const struct command command_ab = {
    .name = "ab",
    .summary = "Compares two sides in one run: two workers alive at once, with interleaved blocks.",
    .description =
        "The sides may differ in anything: engine, options, interpreter, program, git revision, "
        "even the work; cells are paired in order. Rounds of four blocks, A B B A and then B A A "
        "B, each give one ratio, in several starts of fresh workers. It ends as soon as it is "
        "decided: B is FASTER or SLOWER if the ratio's whole interval is beyond the threshold, "
        "SAME "
        "if all of it is within, and UNDECIDED if the time ends before (docs/ab.md).\n\n"
        "Exit code 0: every comparison is decided. 1, with --gate: a B is SLOWER. 3: one is "
        "UNDECIDED or failed. 4: nothing was compared. Each comparison is one line of "
        "DIR/ab_results.jsonl.",
    .examples = "--a '--engine native' --b '--engine pytorch' --mode infer\n"
                "--engine pytorch --b '--compile default' --mode train\n"
                "--engine pytorch --a '--rev main' --gate --threshold 2\n"
                "--a '--threads 1' --b '--threads 2' --mode infer --max-time 20s",
    .options = ab_rows,
    .options_count = ARRAY_COUNT(ab_rows),
    .base = &command_run,
    .base_names = ab_common_names,
    .run = run_ab,
};
