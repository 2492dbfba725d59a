#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/user_folder.h"
#include "base/version.h"
#include "cli/ab_bench.h"
#include "cli/signals.h"
#include "measure/noise.h"
#include "store/noise.h"

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
     .max = NOISE_REPEATS_MAX,
     .group = GROUP_NOISE,
     .help = "comparisons of each cell with itself, each with two fresh workers"},
    AB_ROW_ROUNDS(GROUP_NOISE),
    AB_ROW_MAX_TIME(GROUP_NOISE),
    {.name = "list",
     .type = OPTION_FLAG,
     TARGET(wants_list),
     .group = GROUP_RESULT,
     .help = "print what is known of this machine's noise; measure nothing"},
    AB_ROW_OUT(GROUP_RESULT),
};

/* --- what is known --- */

static void list_entry(const struct noise_entry *entry, struct buf *out)
{
    buf_appendf(out,
                "%8.3g %%  %2zu  %-24.24s  %s  %.60s %s %s %s %.60s seq %" PRIu32 " batch %" PRIu32
                "\n",
                entry->floor_percent, entry->repeats_count, entry->at, entry->environment_id,
                entry->engine, entry->device, entry->mode, entry->precision, entry->model,
                entry->seq_len, entry->batch_size);
}

/* The file's words must do a terminal no harm. */
static void make_printable(struct buf *out)
{
    for (size_t i = 0; i < out->length_bytes; i++)
        if (((unsigned char)out->data[i] < 0x20 && out->data[i] != '\n') || out->data[i] == 0x7f)
            out->data[i] = '?';
}

static enum exit_code print_list(const struct invocation *call)
{
    char path[FILE_PATH_BYTES];
    struct noise_book book = {0};
    struct err err = {0};
    enum status status = user_folder_data(NOISE_NAME, path, &err);
    if (status == STATUS_OK)
        status = noise_book_read(path, &book, &err);
    if (status != STATUS_OK) {
        command_complain(call, "%s", err.text);
        return EXIT_CODE_IO;
    }
    if (book.bad_lines_count > 0)
        command_complain(call, "%zu lines of %s are no entries; they are skipped",
                         book.bad_lines_count, path);
    struct buf out;
    buf_init(&out, LIST_BYTES_MAX);
    if (book.count == 0)
        buf_appendf(&out, "Nothing is known yet: %s has no entries.\n", path);
    else
        buf_appendf(&out, "%10s  %2s  %-24s  %-16s  %s\n", "floor", "n", "at", "environment",
                    "cell");
    for (size_t i = 0; i < book.count; i++)
        if (noise_book_is_newest(&book, i))
            list_entry(&book.entries[i], &out);
    make_printable(&out);
    noise_book_release(&book);
    return command_print(call, &out);
}

/* --- one cell --- */

/* What is known of one cell after its repeats. */
struct finding {
    struct noise_entry entry; /* stored when it has repeats */
    size_t failed_count;      /* comparisons without a result */
    bool is_interrupted;
};

static enum status repeat(struct ab_bench *bench, size_t pair, struct finding *finding,
                          struct err *err)
{
    struct noise_entry *entry = &finding->entry;
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
    }
    finding->is_interrupted = *signals_interrupt() != 0;
    return STATUS_OK;
}

/* Only a whole set is stored: the floor of fewer repeats than asked for would pass for it. */
static enum status store_finding(struct ab_bench *bench, size_t pair, struct finding *finding,
                                 struct err *err)
{
    struct noise_entry *entry = &finding->entry;
    char folder[FILE_PATH_BYTES];
    if (finding->is_interrupted || finding->failed_count > 0)
        return STATUS_OK;
    clock_stamp(entry->at);
    (void)snprintf(entry->version, sizeof(entry->version), "%s", version_text());
    memcpy(entry->environment_id, bench->context.environment_id, sizeof(entry->environment_id));
    noise_entry_take_cell(entry, &bench->setup->sides[PAIR_A].run.plan.cells[pair]);
    double floor = noise_floor(entry->log_ratios, entry->repeats_count, PAIR_CONFIDENCE);
    entry->floor_percent = 100 * expm1(floor);
    enum status status = user_folder_data(NULL, folder, err);
    return status == STATUS_OK ? noise_append(folder, entry, err) : status;
}

/* --- the call --- */

static void append_finding(const struct ab_bench *bench, size_t pair, const struct finding *finding,
                           struct buf *out)
{
    struct ab_row row = {0};
    const struct noise_entry *entry = &finding->entry;
    for (int i = 0; i < PAIR_SIDES; i++)
        row.cells[i] = &bench->setup->sides[i].run.plan.cells[pair];
    ab_report_describe(&row, out);
    if (entry->at[0] == '\0') {
        buf_appendf(out, ": not stored: %zu of %" PRIu64 " comparisons gave a result\n",
                    entry->repeats_count, bench->setup->options.repeats);
        return;
    }
    buf_appendf(out, ": noise floor %.3g %%, from B/A of", entry->floor_percent);
    for (size_t i = 0; i < entry->repeats_count; i++)
        buf_appendf(out, "%s %+.2f", i > 0 ? "," : "", 100 * expm1(entry->log_ratios[i]));
    buf_append_text(out, " %\n");
}

static enum exit_code judge(const struct ab_setup *setup, const struct finding *findings)
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

static enum status measure_all(struct ab_bench *bench, struct finding *findings, struct buf *out,
                               struct err *err)
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
    struct finding *findings = calloc(setup->pairs_count, sizeof(*findings));
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
        buf_appendf(&out, ", %" PRIu64 " comparisons\n", setup->options.repeats);
    }
    buf_append_text(&out, "Dry run: nothing was started or written.\n");
    return command_print(call, &out);
}

static enum exit_code run_noise(const struct invocation *call)
{
    struct ab_options options = {.threshold_percent = THRESHOLD_PERCENT};
    struct options_seen seen;
    enum exit_code code;
    if (!command_parse(call, &options, &seen, &code))
        return code;
    if (options.wants_list)
        return print_list(call);
    return ab_setup_run(call, &options, &seen, print_dry_run, measure);
}

const struct command command_noise = {
    .name = "noise",
    .summary = "Measures this machine's noise floor for `ab`: the difference of two equal sides.",
    .description =
        "Compares every cell with itself, as `tokmark ab` does, --repeats times with two fresh "
        "workers each. One more such comparison stays within the noise floor with 95 % probability "
        "(docs/metrics.md). The floor is stored for this environment in noise.jsonl in the user's "
        "data folder ($XDG_DATA_HOME/tokmark, ~/.local/share/tokmark). From then on `tokmark ab` "
        "takes no smaller difference for one of this cell, whatever its threshold. It also uses "
        "the floor for cells of the same kind (engine, device, mode and precision) that have none "
        "of their own.",
    .examples = "--mode train infer\n"
                "--engine pytorch --mode infer --seq 512 --repeats 10\n"
                "--list",
    .options = noise_rows,
    .options_count = ARRAY_COUNT(noise_rows),
    .base = &command_run,
    .base_names = ab_common_names,
    .run = run_noise,
};
