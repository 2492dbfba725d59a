#include <stdio.h>
#include <stdlib.h>

#include "base/file.h"
#include "base/num.h"
#include "cli/command.h"
#include "cli/context.h"
#include "cli/known.h"
#include "cli/render/profile_report.h"
#include "cli/run_setup.h"
#include "cli/signals.h"
#include "drive/profile.h"
#include "spec/device.h"
#include "spec/flops.h"
#include "telemetry/environment.h"

#define OUTPUT_BYTES_MAX (1U << 20)
#define NAME_BYTES       (HASH_ID_BYTES + 16)

enum format { FORMAT_TEXT, FORMAT_JSON };

struct profile_options {
    struct run_options run; /* first: the rows of `run` point into it */
    uint64_t steps;
    uint64_t format;
};

/* What a whole call is made of. Borrowed: for the call. */
struct profile_call {
    const struct invocation *call;
    const struct profile_options *options;
    const struct cell *cell; /* the only one of the plan */
    struct run_setup setup;
    struct context context;
    struct profile profile;
    char trace_path[FILE_PATH_BYTES];
    char log_path[FILE_PATH_BYTES];
};

/* DIR/FOLDER/NAME, with its folder. */
static enum status place(const char *dir, const char *folder, const char *name,
                         char path[FILE_PATH_BYTES], struct err *err)
{
    char inner[FILE_PATH_BYTES];
    TRY(file_join(dir, folder, inner, err));
    TRY(file_make_dirs(inner, err));
    return file_join(inner, name, path, err);
}

/* The worker may run in another folder: its path is absolute. */
static enum status make_places(struct profile_call *profile, struct err *err)
{
    char id[HASH_ID_BYTES];
    char name[NAME_BYTES];
    cell_id(profile->cell, id);
    TRY(file_make_dirs(profile->setup.out, err));
    char *dir = realpath(profile->setup.out, NULL);
    if (dir == NULL)
        return ERR(err, STATUS_IO, "cannot find the folder '%s'", profile->setup.out);
    (void)snprintf(name, sizeof(name), "%s.json", id);
    enum status status = place(dir, "profiles", name, profile->trace_path, err);
    (void)snprintf(name, sizeof(name), "profile.%s.log", id);
    if (status == STATUS_OK)
        status = place(dir, "logs", name, profile->log_path, err);
    free(dir);
    return status;
}

/* FLOP/s of the best matmul that this machine has shown; 0 = not known. */
static double find_peak(const struct profile_call *profile)
{
    struct known known;
    struct machine_peak peak = {0};
    struct err why = {0};
    char device[DEVICE_NAME_BYTES];
    device_first(profile->cell->device, device);
    if (known_init(&known, false, false, profile->context.environment.data, &why) != STATUS_OK &&
        !profile->options->run.is_quiet)
        command_complain(profile->call, "nothing is known of this machine: %s", why.text);
    machine_book_peak(&known.book, known.hardware_id, device, flops_unit(profile->cell->precision),
                      &peak);
    known_release(&known);
    return peak.matmul_flops;
}

static enum status run_worker(struct profile_call *profile, struct err *err)
{
    struct context *context = &profile->context;
    struct buf json CLEANUP(buf_release) = {0};
    TRY(context_open(context, profile->call, err));
    TRY(context_listen(context, err));
    const struct client_options client = context_client(context, &profile->options->run);
    buf_init(&json, ENVIRONMENT_BYTES_MAX);
    TRY(context_preflight(&client, profile->setup.ops, &json, err));
    TRY(make_places(profile, err));
    const struct profile_job job = {.cell = profile->cell,
                                    .log_path = profile->log_path,
                                    .trace_path = profile->trace_path,
                                    .run_id = context->run_id,
                                    .steps_count = (uint32_t)profile->options->steps};
    return profile_run(&job, &client, &profile->profile, err);
}

static enum exit_code profile_cell(struct profile_call *profile)
{
    struct err err = {0};
    enum status status = run_worker(profile, &err);
    if (status != STATUS_OK)
        return context_fail(&profile->context, profile->trace_path[0] != '\0', status, &err);
    const struct profile_page page = {.cell = profile->cell,
                                      .profile = &profile->profile,
                                      .trace_path = profile->trace_path,
                                      .peak_flops = find_peak(profile)};
    struct buf out CLEANUP(buf_release) = {0};
    buf_init(&out, OUTPUT_BYTES_MAX);
    (profile->options->format == FORMAT_JSON ? profile_report_json : profile_report_text)(&page,
                                                                                          &out);
    const struct context_outcome outcome = {
        .has_result = profile->profile.run.verdict == VERDICT_OK,
        .is_all_well = profile->profile.run.verdict == VERDICT_OK,
        .is_interrupted = *signals_interrupt() != 0,
    };
    enum exit_code code = command_print(profile->call, &out);
    return code != EXIT_CODE_OK && !outcome.is_interrupted ? code : context_exit_code(&outcome);
}

static enum status take_cell(struct profile_call *profile, struct err *err)
{
    const struct plan *plan = &profile->setup.plan;
    if (plan->cells_count != 1)
        return ERR(err, STATUS_INVALID,
                   "these flags are %zu cell%s, and a profile is of one: give one value each of "
                   "--mode, --precision, --seq and --batch",
                   plan->cells_count, num_plural(plan->cells_count));
    profile->cell = &plan->cells[0];
    return STATUS_OK;
}

static enum exit_code run_profile(const struct invocation *call)
{
    struct profile_options options = {0};
    struct options_seen seen;
    enum exit_code code;
    if (!command_parse(call, &options, &seen, &code))
        return code;
    struct options_table table = command_options(call->command, call->program);
    struct profile_call profile = {.call = call, .options = &options};
    struct err err = {0};
    enum status status = run_setup_make(&options.run, &table, &seen, &profile.setup, &err);
    if (status == STATUS_OK)
        status = take_cell(&profile, &err);
    if (status == STATUS_OK) {
        code = profile_cell(&profile);
    } else {
        command_complain(call, "%s", err.text);
        code = status == STATUS_NOMEM ? EXIT_CODE_IO : EXIT_CODE_USAGE;
    }
    context_close(&profile.context);
    run_setup_release(&profile.setup);
    return code;
}

static const char *const run_names[] = {RUN_GROUP_WHAT, RUN_GROUP_SWEEP, "threads",
                                        "timeout",      "memory-limit",  "launch",
                                        "quiet",        "help",          NULL};

static const struct option_choice format_choices[] = {
    {"text", FORMAT_TEXT}, {"json", FORMAT_JSON}, {NULL, 0}};

static const struct option profile_rows[] = {
    {.name = "steps",
     .type = OPTION_NUMBER,
     .offset = offsetof(struct profile_options, steps),
     .arg = "N",
     .def = "5",
     .min = 1,
     .max = PROTO_PROFILE_STEPS_MAX,
     .group = "How long",
     .help = "steps under the profiler, after three without"},
    {.name = "format",
     .type = OPTION_CHOICE,
     .offset = offsetof(struct profile_options, format),
     .arg = "FORM",
     .def = "text",
     .choices = format_choices,
     .group = "Output",
     .help = "a table of the ten operators that took longest, or one line of JSON"},
    {.name = "out",
     .type = OPTION_TEXT,
     .offset = offsetof(struct profile_options, run.out),
     .arg = "DIR",
     .def = "_bench",
     .max = 3800,
     .group = "Output",
     .help = "folder of profiles/, where the trace goes, and logs/"},
};

const struct command command_profile = {
    .name = "profile",
    .summary = "Runs one cell under its engine's profiler: which operators take the time.",
    .description =
        "The cell is given by the flags of `tokmark run`, one value of each. Its steps run in a "
        "worker of their own under torch.profiler, jax.profiler or native's own log: which "
        "operators take which share of the time, how often each is called, and how near its "
        "matmuls come to `tokmark peak`. A trace goes to DIR/profiles, for ui.perfetto.dev. "
        "Times under a profiler are longer, and no result is written (docs/profile.md).\n\n"
        "0 says that there is a profile, 4 that there is none.",
    .examples = "--mode train --seq 128 --batch 4\n"
                "--engine pytorch --device cuda --precision bf16 --mode train\n"
                "--mode decode --seq 512 --batch 1 --format json",
    .options = profile_rows,
    .options_count = ARRAY_COUNT(profile_rows),
    .base = &command_run,
    .base_names = run_names,
    .run = run_profile,
};
