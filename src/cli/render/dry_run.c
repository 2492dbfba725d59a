#include "cli/render/dry_run.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/num.h"
#include "cli/run_layouts.h"
#include "cli/sweep.h"

#define ORDER_SHOWN_MAX 10000 /* trials of cells */
#define PRECISION_BYTES (4 * CELL_WORD_BYTES)

/* What is known of one cell beforehand. */
struct outlook {
    bool is_supported;
    char reason[ERR_TEXT_BYTES]; /* why not */
    uint64_t memory_bytes;       /* 0 = unknown */
    struct engine_device device;
    uint64_t time_ns; /* of warm-up and measuring, a trial; 0 = unknown */
    bool is_time_cap; /* time_ns is the most, not an estimate */
    uint64_t trials_left;
};

static uint64_t in_ns(double ns)
{
    return ns > 0 && ns < 1e18 ? (uint64_t)ns : 0;
}

/* Time that is bounded holds from the second step on, to the end of the step that is under way. */
#define STEPS_BESIDE_LIMIT 2

static void estimate_time(const struct run_setup *setup, double step_ns, struct outlook *outlook)
{
    const struct measure_policy *policy = &setup->policy;
    double warmup_steps = policy->is_warmup_auto ? 0 : (double)policy->warmup_steps;
    if (policy->steps_exact == 0) {
        outlook->is_time_cap = true;
        outlook->time_ns =
            policy->time_max_ns + in_ns(step_ns * (warmup_steps + STEPS_BESIDE_LIMIT));
        return;
    }
    outlook->time_ns = in_ns(step_ns * ((double)policy->steps_exact + warmup_steps));
}

/* The trials that --resume leaves to do. */
static uint64_t trials_left(const struct dry_run *dry_run, const char *id)
{
    uint64_t left = 0;
    const struct run_options *options = &dry_run->setup->options;
    if (dry_run->finished == NULL)
        return options->trials;
    for (uint64_t trial = 0; trial < options->trials; trial++) {
        const struct index_entry *entry = index_find(
            dry_run->finished, id, dry_run->setup->policy_id, trial, dry_run->environment_id);
        left += entry == NULL || (options->resume == RUN_RESUME_UNSTEADY && entry->is_unsteady);
    }
    return left;
}

static void look_ahead(const struct run_setup *setup, const struct cell *cell,
                       struct outlook *outlook)
{
    *outlook = (struct outlook){.is_supported = true};
    double step_ns = 0;
    /* What only a worker can say is unknown here: nothing is started. */
    struct err why = {0};
    if (setup->ops != NULL && setup->ops->supports != NULL &&
        setup->ops->supports(cell, &why) != STATUS_OK) {
        outlook->is_supported = false;
        (void)snprintf(outlook->reason, sizeof(outlook->reason), "%s", why.text);
        return;
    }
    struct engine_prediction prediction = {0};
    if (setup->ops != NULL && setup->ops->predict != NULL &&
        setup->ops->predict(cell, &prediction, NULL) == STATUS_OK) {
        if (prediction.memory.is_known)
            outlook->memory_bytes = prediction.memory.total_bytes;
        step_ns = prediction.step_ns_estimate;
    }
    if (engine_device_of(setup->ops, cell, &outlook->device, NULL) != STATUS_OK)
        outlook->device = (struct engine_device){0};
    estimate_time(setup, step_ns, outlook);
}

static const char *fits_text(const struct dry_run *dry_run, const struct outlook *outlook)
{
    uint64_t limit_bytes = dry_run->setup->options.memory_limit_bytes;
    uint64_t available_bytes = limit_bytes > 0 ? limit_bytes : dry_run->available_bytes;
    if (!outlook->is_supported)
        return "unsupported";
    if (!outlook->device.is_host)
        available_bytes = outlook->device.available_bytes > 0 ? outlook->device.available_bytes
                                                              : dry_run->card_bytes;
    if (outlook->memory_bytes == 0 || available_bytes == 0)
        return "unknown";
    return outlook->memory_bytes <= available_bytes ? "yes" : "no";
}

static void format_time(const struct outlook *outlook, char text[NUM_TEXT_BYTES])
{
    char duration[NUM_TEXT_BYTES];
    if (outlook->time_ns == 0) {
        (void)snprintf(text, NUM_TEXT_BYTES, "unknown");
        return;
    }
    num_format_duration(outlook->time_ns, duration);
    (void)snprintf(text, NUM_TEXT_BYTES, "%s%.24s", outlook->is_time_cap ? "<= " : "~ ", duration);
}

/* With its layout, and where their number was to be found its devices; how long it is. */
static int precision_of(const struct run_setup *setup, const struct cell *cell,
                        char text[PRECISION_BYTES])
{
    char part[2 * CELL_WORD_BYTES];
    if (run_layouts_are_found(setup->options.devices)) {
        cell_device_text(cell, part);
        return snprintf(text, PRECISION_BYTES, "%s %s", cell_precision_name(cell->precision), part);
    }
    cell_precision_text(cell, part);
    return snprintf(text, PRECISION_BYTES, "%s", part);
}

static int precision_width(const struct run_setup *setup)
{
    int width = (int)strlen("precision");
    for (size_t i = 0; i < setup->plan.cells_count; i++) {
        char text[PRECISION_BYTES];
        int length = precision_of(setup, &setup->plan.cells[i], text);
        width = length > width ? length : width;
    }
    return width;
}

static void append_cell(const struct dry_run *dry_run, size_t index, int width,
                        struct outlook *outlook, struct buf *out)
{
    const struct cell *cell = &dry_run->setup->plan.cells[index];
    char id[HASH_ID_BYTES], memory[NUM_TEXT_BYTES], time[NUM_TEXT_BYTES];
    look_ahead(dry_run->setup, cell, outlook);
    cell_id(cell, id);
    outlook->trials_left = trials_left(dry_run, id);
    (void)snprintf(memory, sizeof(memory), "unknown");
    if (outlook->memory_bytes > 0)
        num_format_bytes(outlook->memory_bytes, memory);
    format_time(outlook, time);
    bool is_finished = outlook->trials_left == 0;
    char precision[PRECISION_BYTES];
    (void)precision_of(dry_run->setup, cell, precision);
    buf_appendf(out, "%5zu  %s  %-15s  %-6s  %-*s  %7" PRIu32 "  %7" PRIu32 "  %10s  %-11s  %s\n",
                index + 1, id, cell->framework, cell_mode_name(cell->mode), width, precision,
                cell->seq_len, cell->batch_size, memory, fits_text(dry_run, outlook),
                is_finished             ? "finished"
                : outlook->is_supported ? time
                                        : "-");
    if (!outlook->is_supported)
        buf_appendf(out, "       %s\n", outlook->reason);
}

/* What a sweep of several trials does in which order, and what it does between cells. */
static void append_order(const struct run_setup *setup, struct buf *out)
{
    size_t cells_count = setup->plan.cells_count;
    uint64_t trials = setup->options.trials;
    if (setup->options.canary_minutes > 0)
        buf_appendf(out,
                    "Canary cell: the first cell that ends ok is measured again every %g minutes\n",
                    setup->options.canary_minutes);
    if (!sweep_is_shuffled(setup))
        return;
    buf_appendf(out, "Order: shuffled for each trial, by seed %" PRIu64 "\n",
                setup->options.cell.seed);
    size_t *order =
        cells_count * trials <= ORDER_SHOWN_MAX ? calloc(cells_count, sizeof(*order)) : NULL;
    for (uint32_t trial = 0; order != NULL && trial < trials; trial++) {
        sweep_order(setup, trial, order);
        buf_appendf(out, "  trial %" PRIu32 ": cells", trial + 1);
        for (size_t i = 0; i < cells_count; i++)
            buf_appendf(out, " %zu", order[i] + 1);
        buf_append_char(out, '\n');
    }
    free(order);
}

/* What of a training step is not as usual. */
static void append_training(const struct cell *cell, struct buf *out)
{
    const struct cell_options *options = &cell->options;
    if (options->recompute != CELL_RECOMPUTE_OFF)
        buf_appendf(out, "recompute %s; ", cell_recompute_name(options->recompute));
    if (options->accumulate_count > 1)
        buf_appendf(out, "a step in %" PRIu32 " parts; ", cell_accumulate(cell));
    if (options->optimizer_dtype != CELL_OPTIMIZER_DTYPE_AUTO)
        buf_appendf(out, "moments in %s; ", cell_optimizer_dtype_name(cell));
}

static void append_rule(const struct run_setup *setup, struct buf *out)
{
    char text[NUM_TEXT_BYTES];
    const struct cell *first = &setup->plan.cells[0];
    buf_appendf(out, "%s on %s; ", first->model.name, first->device);
    append_training(&setup->options.cell, out);
    buf_append_text(out, "stop ");
    if (setup->policy.steps_exact > 0) {
        buf_appendf(out, "after exactly %" PRIu64 " step%s\n\n", setup->policy.steps_exact,
                    num_plural(setup->policy.steps_exact));
        return;
    }
    num_format_duration(setup->policy.time_max_ns, text);
    buf_appendf(out, "within %g %% or after %s\n\n", setup->policy.target_ci_percent, text);
}

/* Of the trials that are left. */
struct total {
    uint64_t trials_left, trials_count;
    uint64_t time_ns;
    bool is_time_known, is_time_cap;
};

static void append_total(const struct dry_run *dry_run, const struct total *total, struct buf *out)
{
    char text[NUM_TEXT_BYTES];
    const struct run_setup *setup = dry_run->setup;
    struct outlook time = {.time_ns = total->is_time_known ? total->time_ns : 0,
                           .is_time_cap = total->is_time_cap};
    size_t cells_count = setup->plan.cells_count;
    buf_appendf(out, "\n%zu cell%s", cells_count, num_plural(cells_count));
    if (setup->options.trials > 1)
        buf_appendf(out, " x %" PRIu64 " trials", setup->options.trials);
    if (total->trials_left < total->trials_count)
        buf_appendf(out, ", %" PRIu64 " of %" PRIu64 " finished (--resume)",
                    total->trials_count - total->trials_left, total->trials_count);
    if (total->trials_left > 0) {
        format_time(&time, text);
        buf_appendf(out, ", time %s, and what starting%s takes", text,
                    setup->ops != NULL && setup->ops->become != NULL ? ", loading and compiling"
                                                                     : " and loading");
    }
    if (dry_run->available_bytes > 0) {
        num_format_bytes(dry_run->available_bytes, text);
        buf_appendf(out, ", memory available %s", text);
    }
    buf_append_char(out, '\n');
}

void dry_run_format(const struct dry_run *dry_run, struct buf *out)
{
    const struct run_setup *setup = dry_run->setup;
    int width = precision_width(setup);
    append_rule(setup, out);
    buf_appendf(out, "%5s  %-16s  %-15s  %-6s  %-*s  %7s  %7s  %10s  %-11s  %s\n", "cell", "id",
                "engine", "mode", width, "precision", "seq", "batch", "memory", "fits", "time");
    struct total total = {.is_time_known = true};
    for (size_t i = 0; i < setup->plan.cells_count; i++) {
        struct outlook outlook;
        append_cell(dry_run, i, width, &outlook, out);
        total.trials_left += outlook.trials_left;
        total.trials_count += setup->options.trials;
        if (!outlook.is_supported || outlook.trials_left == 0)
            continue;
        total.time_ns += outlook.time_ns * outlook.trials_left;
        total.is_time_cap |= outlook.is_time_cap;
        total.is_time_known &= outlook.time_ns > 0;
    }
    append_total(dry_run, &total, out);
    append_order(setup, out);
    buf_append_text(out, "Dry run: nothing was started or written.\n");
}
