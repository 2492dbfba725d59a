/* cli/run_options.h - the flags of `tokmark run`, as given. run_setup.h makes a sweep of them. */
#ifndef CLI_RUN_OPTIONS_H
#define CLI_RUN_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "cli/options.h"
#include "plan/plan.h"
#include "spec/cell.h"

enum run_when { RUN_WHEN_AUTO, RUN_WHEN_ALWAYS, RUN_WHEN_NEVER };
extern const struct option_choice run_when_choices[];

#define COLOR_HELP_TABLE "colour in the table; auto: on a terminal without NO_COLOR"
/* `--color WHEN`, which render/terminal.h decides by. */
#define COLOR_ROW(target_offset, group_name, help_text)                                         \
    {                                                                                           \
        .name = "color", .type = OPTION_CHOICE, .offset = (target_offset), .arg = "WHEN",       \
        .def = "auto", .choices = run_when_choices, .group = (group_name), .help = (help_text), \
    }

#define RUN_WARMUP_AUTO UINT64_MAX
#define RUN_DRIFT_AUTO  UINT64_MAX

/* What of a folder's finished records is measured again. */
enum run_resume { RUN_RESUME_NO, RUN_RESUME_UNFINISHED, RUN_RESUME_UNSTEADY };

/* Texts are borrowed: from the command line. */
struct run_options {
    struct cell cell; /* members that flags set as they are; the rest is zero (run_setup.c) */
    /* what to run */
    const char *engine;
    const char *model;
    struct option_texts settings; /* key=value */
    const char *python;           /* NULL = the engine chooses */
    const char *weights;          /* NULL = none */
    const char *data;             /* "synthetic" or a path */
    uint64_t data_format;         /* enum cell_data */
    /* sweep */
    const char *device;
    const char *devices;           /* NULL = one: `device` */
    struct option_texts parallels; /* as given (cli/run_layouts.h) */
    const char *platform;          /* bench_jax's word for it; NULL elsewhere */
    struct option_picks modes;
    struct option_picks precisions;
    struct plan_axis seq_lens;
    struct plan_axis batch_sizes;
    bool finds_sizes; /* the command can find one (cli/fit.h) */
    /* how long */
    uint64_t steps; /* 0 = by precision */
    double target_ci_percent;
    uint64_t max_time_ns;
    uint64_t warmup; /* or RUN_WARMUP_AUTO */
    uint64_t trials;
    uint64_t sync;         /* enum proto_sync */
    double canary_minutes; /* 0 = off */
    /* limits */
    uint64_t timeout_ns;
    uint64_t memory_limit_bytes; /* 0 = by what is available */
    const char *launch;          /* NULL = none */
    bool is_fresh;               /* no worker is forked */
    uint64_t foreign_load;       /* percent; 0 = off */
    uint64_t clock_check;        /* 0 = off */
    uint64_t history;            /* 0 = off */
    uint64_t drift;              /* percent; 0 = off; or RUN_DRIFT_AUTO */
    /* output */
    double price_per_kwh, price_per_hour; /* 0 = not given */
    const char *matrix;                   /* NULL = none */
    const char *out;
    uint64_t resume; /* enum run_resume */
    bool wants_zip;
    bool is_sandbox;
    bool is_dry_run;
    bool tries_all;    /* also what cannot fit, by what did not */
    uint64_t progress; /* enum run_when */
    uint64_t color;    /* enum run_when */
    uint64_t form;     /* enum form (render/forms.h): what stdout is */
    bool is_verbose;
    bool has_hud;
    bool is_quiet;
    bool is_strict;           /* warnings count for the exit code */
    const char *compare_base; /* NULL = nothing is compared */
    double gate_percent;      /* 0 = no gate */
};

/* Sections that other commands take whole, by these names in their lists. */
#define RUN_GROUP_WHAT  "What to run"
#define RUN_GROUP_SWEEP "Sweep: every combination is one cell; lists take several values"

extern const struct option_choice run_auto_choices[]; /* "auto" for 0 */

/* Published defaults, over those of `tokmark run`. */
extern const struct option_default run_defaults_bench_pytorch[];
extern const struct option_default run_defaults_bench_jax[];

#endif
