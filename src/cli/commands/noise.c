#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/num.h"
#include "base/user_folder.h"
#include "base/version.h"
#include "cli/ab_bench.h"
#include "cli/render/machine_table.h"
#include "cli/signals.h"
#include "measure/noise.h"
#include "store/machine.h"
#include "telemetry/environment.h"

#define GROUP_NOISE       "How certain; flags below say which cells"
#define GROUP_RESULT      "Result"
#define LIST_BYTES_MAX    (8 << 20)
#define THRESHOLD_PERCENT 1.0 /* as precise as `tokmark ab` is by default */

#define TARGET(member)    .offset = offsetof(struct ab_options, member)

static const struct option noise_rows[] = {
    {.name = "repeats",
     .type = OPTION_NUMBER,
     TARGET(repeats),
     .arg = "N",
     .def = "5",
     .min = 1,
     .max = MACHINE_REPEATS_MAX,
     .group = GROUP_NOISE,
     .help = "comparisons of each cell with itself, each with two fresh workers"},
    AB_ROW_ROUNDS(GROUP_NOISE),
    AB_ROW_MAX_TIME(GROUP_NOISE),
    {.name = "show",
     .type = OPTION_FLAG,
     TARGET(wants_list),
     .group = GROUP_RESULT,
     .help =
         "print what this machine has shown so far, and measure nothing; so does `noise` without "
         "any flag"},
    {.name = "list",
     .type = OPTION_FLAG,
     TARGET(wants_list),
     .group = GROUP_RESULT,
     .help = "the same as --show"},
    AB_ROW_OUT(GROUP_RESULT),
    AB_ROW_DRY_RUN(GROUP_RESULT),
};

/* What is stored lasts: others may take less of the machine than where only one result is at stake.
 */
static const struct option_default noise_defaults[] = {{"foreign-load", "5"}, {NULL, NULL}};

/* --- what is known --- */

static enum status read_book(char dir[FILE_PATH_BYTES], char machine_id[HASH_ID_BYTES],
                             struct machine_book *ret_book, struct err *err)
{
    struct buf environment;
    buf_init(&environment, ENVIRONMENT_BYTES_MAX);
    enum status status = user_folder_data(NULL, dir, err);
    if (status == STATUS_OK)
        status = environment_write(&environment, err);
    if (status == STATUS_OK) {
        environment_machine(environment.data, machine_id);
        status = machine_book_read(dir, ret_book, err);
    }
    buf_release(&environment);
    return status;
}

static enum exit_code print_known(const struct invocation *call)
{
    char dir[FILE_PATH_BYTES];
    char machine_id[HASH_ID_BYTES];
    struct machine_book book = {0};
    struct err err = {0};
    if (read_book(dir, machine_id, &book, &err) != STATUS_OK) {
        command_complain(call, "%s", err.text);
        return EXIT_CODE_IO;
    }
    if (book.bad_lines_count > 0)
        command_complain(call, "%s: %zu line%s skipped, being no entries", dir,
                         book.bad_lines_count, num_plural(book.bad_lines_count));
    struct buf out;
    buf_init(&out, LIST_BYTES_MAX);
    if (book.runs_count + book.floors_count + book.clocks_count == 0)
        buf_appendf(&out, "Nothing is known of this machine yet: %s/%s has no entries.\n", dir,
                    MACHINE_NAME);
    else
        machine_table_format(&book, machine_id, &out);
    machine_book_release(&book);
    return command_print(call, &out);
}

/* --- one cell --- */

/* What is known of one cell after its repeats. */
struct noise_finding {
    struct machine_floor entry; /* stored when it has repeats */
    size_t failed_count;        /* comparisons without a result */
    double load_percent; /* the most that others took of one that was spoiled by it; 0 = none */
    bool is_interrupted;
};

static enum status repeat(struct ab_bench *bench, size_t pair, struct noise_finding *finding,
                          struct err *err)
{
    struct machine_floor *entry = &finding->entry;
    const struct ab_options *options = &bench->setup->options;
    for (uint64_t i = 0; i < options->repeats && *signals_interrupt() == 0; i++) {
        struct ab_row row = {.threshold_percent = THRESHOLD_PERCENT};
        (void)snprintf(row.floor.reason, sizeof(row.floor.reason), "it is what is being measured");
        enum status status = ab_bench_compare(bench, pair, &row, err);
        if (status != STATUS_OK)
            return status;
        bool is_spoiled = row.result.is_interrupted ||
                          reasons_have(&row.result.reasons, "foreign_load") ||
                          row.result.comparison.rounds_count == 0 ||
                          row.result.sides[PAIR_A].verdict > VERDICT_UNSTEADY ||
                          row.result.sides[PAIR_B].verdict > VERDICT_UNSTEADY;
        if (is_spoiled)
            finding->failed_count++;
        else
            entry->log_ratios[entry->repeats_count++] = row.result.comparison.log_ratio;
        entry->ms = row.result.sides[PAIR_A].median.value / (double)NS_PER_MS;
        if (reasons_have(&row.result.reasons, "foreign_load"))
            finding->load_percent = fmax(finding->load_percent, row.result.foreign_percent);
    }
    finding->is_interrupted = *signals_interrupt() != 0;
    return STATUS_OK;
}

/* Only a whole set is stored: the floor of fewer repeats than asked for would pass for it. */
static enum status store_finding(struct ab_bench *bench, size_t pair, struct noise_finding *finding,
                                 struct err *err)
{
    struct machine_floor *entry = &finding->entry;
    char folder[FILE_PATH_BYTES];
    if (finding->is_interrupted || finding->failed_count > 0)
        return STATUS_OK;
    clock_stamp(entry->at);
    (void)snprintf(entry->version, sizeof(entry->version), "%s", version_text());
    memcpy(entry->environment_id, bench->context.environment_id, sizeof(entry->environment_id));
    machine_floor_take_cell(entry, &bench->setup->sides[PAIR_A].run.plan.cells[pair]);
    double floor = noise_floor(entry->log_ratios, entry->repeats_count, PAIR_CONFIDENCE);
    entry->percent = 100 * expm1(floor);
    enum status status = user_folder_data(NULL, folder, err);
    return status == STATUS_OK ? machine_append_floor(folder, entry, err) : status;
}

/* --- the call --- */

static void append_finding(const struct ab_bench *bench, size_t pair,
                           const struct noise_finding *finding, struct buf *out)
{
    struct ab_row row = {0};
    const struct machine_floor *entry = &finding->entry;
    for (int i = 0; i < PAIR_SIDES; i++)
        row.cells[i] = &bench->setup->sides[i].run.plan.cells[pair];
    ab_report_describe(&row, out);
    if (entry->at[0] == '\0') {
        buf_appendf(out, ": not stored: %zu of %" PRIu64 " comparison%s gave a result",
                    entry->repeats_count, bench->setup->options.repeats,
                    num_plural(bench->setup->options.repeats));
        if (finding->load_percent > 0)
            buf_appendf(out,
                        "; others took up to %.3g %% of the processors' time: noise is measured "
                        "on a machine that is idle else",
                        finding->load_percent);
        buf_append_char(out, '\n');
        return;
    }
    buf_appendf(out, ": noise floor %.3g %%, from B/A of", entry->percent);
    for (size_t i = 0; i < entry->repeats_count; i++)
        buf_appendf(out, "%s %+.2f", i > 0 ? "," : "", 100 * expm1(entry->log_ratios[i]));
    buf_append_text(out, " %\n");
}

static enum exit_code judge(const struct ab_setup *setup, const struct noise_finding *findings)
{
    size_t stored_count = 0;
    for (size_t i = 0; i < setup->pairs_count; i++)
        stored_count += findings[i].entry.at[0] != '\0';
    const struct context_outcome outcome = {
        .has_result = stored_count > 0,
        .is_all_well = stored_count == setup->pairs_count,
        .is_interrupted = *signals_interrupt() != 0,
    };
    return context_exit_code(&outcome);
}

static enum status measure_all(struct ab_bench *bench, struct noise_finding *findings,
                               struct buf *out, struct err *err)
{
    enum status status = STATUS_OK;
    for (size_t i = 0; i < bench->setup->pairs_count && *signals_interrupt() == 0; i++) {
        status = repeat(bench, i, &findings[i], err);
        if (status == STATUS_OK)
            status = store_finding(bench, i, &findings[i], err);
        if (status != STATUS_OK)
            break;
        append_finding(bench, i, &findings[i], out);
    }
    return status;
}

static enum exit_code measure(const struct invocation *call, struct ab_setup *setup)
{
    struct err err = {0};
    struct ab_bench bench;
    struct buf out;
    struct noise_finding *findings = calloc(setup->pairs_count, sizeof(*findings));
    size_t total = setup->pairs_count * (size_t)setup->options.repeats;
    buf_init(&out, LIST_BYTES_MAX);
    enum status status = ab_bench_open(&bench, call, setup, "noise", total, &err);
    if (status == STATUS_OK && findings == NULL)
        status = ERR(&err, STATUS_NOMEM, "no memory for %zu cells", setup->pairs_count);
    if (status == STATUS_OK)
        status = measure_all(&bench, findings, &out, &err);
    ab_progress_clear(&bench.progress);
    (void)command_print(call, &out);
    enum exit_code code =
        status == STATUS_OK ? judge(setup, findings) : ab_bench_fail(&bench, status, &err);
    ab_bench_close(&bench);
    free(findings);
    return code;
}

static enum exit_code print_dry_run(const struct invocation *call, struct ab_setup *setup)
{
    struct buf out;
    buf_init(&out, LIST_BYTES_MAX);
    for (size_t i = 0; i < setup->pairs_count; i++) {
        struct ab_row row = {0};
        for (int side = 0; side < PAIR_SIDES; side++)
            row.cells[side] = &setup->sides[side].run.plan.cells[i];
        buf_appendf(&out, "%s: ", row.cells[PAIR_A]->framework);
        ab_report_describe(&row, &out);
        buf_appendf(&out, ", %" PRIu64 " comparison%s\n", setup->options.repeats,
                    num_plural(setup->options.repeats));
    }
    buf_append_text(&out, "Dry run: nothing was started or written.\n");
    return command_print(call, &out);
}

static bool is_any_given(const struct invocation *call, const struct options_seen *seen)
{
    const struct options_table table = command_options(call->command, &program_list[0]);
    for (size_t i = 0; i < options_rows_count(&table); i++)
        if (seen->is_given[i])
            return true;
    return false;
}

static enum exit_code run_noise(const struct invocation *call)
{
    struct ab_options options = {.threshold_percent = THRESHOLD_PERCENT};
    struct options_seen seen;
    enum exit_code code;
    if (!command_parse(call, &options, &seen, &code))
        return code;
    if (options.wants_list || !is_any_given(call, &seen))
        return print_known(call);
    return ab_setup_run(call, &options, &seen, print_dry_run, measure);
}

const struct command command_noise = {
    .name = "noise",
    .summary = "Prints what this machine has shown; with flags, measures a noise floor for `ab`.",
    .description =
        "Without flags it prints what is known of this machine: for each cell the runs so far, how "
        "far "
        "they lie apart and until when they count; noise floors; the best clock check. A record's "
        "next_run_ms_low and _high come from these runs.\n\n"
        "With flags that say which cells, it compares every cell with itself, as `tokmark ab` "
        "does, --repeats times with two fresh "
        "workers each. One more such comparison stays within the noise floor with 95 % probability "
        "(docs/metrics.md). The floor is stored for this cell and environment in machine.jsonl in "
        "the user's "
        "data folder ($XDG_DATA_HOME/tokmark, ~/.local/share/tokmark), and counts for 30 days: "
        "`tokmark "
        "ab` decides nothing by a smaller difference. It is not stored if others used more than "
        "--foreign-load of the processors' time meanwhile, or a comparison failed.\n\n"
        "Exit code 3: the floor of some cell was not stored. 4: none was.",
    .examples = "\n"
                "--mode train infer\n"
                "--engine pytorch --mode infer --seq 512 --repeats 10\n"
                "--show",
    .options = noise_rows,
    .options_count = ARRAY_COUNT(noise_rows),
    .base = &command_run,
    .base_names = ab_common_names,
    .defaults = noise_defaults,
    .run = run_noise,
};
