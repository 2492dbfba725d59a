#include "cli/run_options.h"

#include "cli/cell_choices.h"
#include "cli/command.h"
#include "cli/commands/run.h"
#include "cli/matrix.h"
#include "cli/render/forms.h"
#include "cli/run_words.h"
#include "proto/message.h"

#define GROUP_LONG     "How long"
#define GROUP_LIMITS   "Limits"
#define GROUP_OUTPUT   "Output"
#define GROUP_HELP     "Help"

#define SEQ_LEN_MAX    1048576
#define BATCH_SIZE_MAX 1048576

const struct option_default run_defaults_bench_pytorch[] = {
    {"engine", "pytorch"},
    {"model", "superintelligence"},
    {"device", "cuda:0"},
    {"precision", "bf16"},
    {"seq", "128 512 2048"},
    {"batch", "8 32"},
    {"steps", "400"},
    {"warmup", "20"},
    {"target-ci", NULL},
    {"max-time", NULL},
    {NULL, NULL},
};

const struct option_default run_defaults_bench_jax[] = {
    {"engine", "jax"},       {"model", "superintelligence"},
    {"device", NULL},        {"precision", "bf16"},
    {"seq", "128 512 2048"}, {"batch", "8 32"},
    {"steps", "400"},        {"warmup", "20"},
    {"target-ci", NULL},     {"max-time", NULL},
    {"out", "_bench_jax"},   {NULL, NULL},
};

static const struct option_choice data_format_choices[] = {
    {"auto", CELL_DATA_AUTO},
    {"uint16", CELL_DATA_UINT16},
    {"uint32", CELL_DATA_UINT32},
    {"text", CELL_DATA_TEXT},
    {NULL, 0},
};

static const struct option_choice sync_choices[] = {
    {"step", PROTO_SYNC_STEP}, {"block", PROTO_SYNC_BLOCK}, {NULL, 0}};

static const struct option_choice resume_choices[] = {
    {"unfinished", RUN_RESUME_UNFINISHED}, {"unsteady", RUN_RESUME_UNSTEADY}, {NULL, 0}};

static const struct option_choice when_choices[] = {
    {"auto", RUN_WHEN_AUTO}, {"always", RUN_WHEN_ALWAYS}, {"never", RUN_WHEN_NEVER}, {NULL, 0}};

static const struct option_choice warmup_choices[] = {{"auto", RUN_WARMUP_AUTO}, {NULL, 0}};
static const struct option_choice switch_choices[] = {{"on", 1}, {"off", 0}, {NULL, 0}};
static const struct option_choice seq_goals[] = {{"max", PLAN_GOAL_MAX}, {NULL, 0}};
static const struct option_choice batch_goals[] = {
    {"max", PLAN_GOAL_MAX}, {"best", PLAN_GOAL_BEST}, {NULL, 0}};
static const struct option_choice off_choices[] = {{"off", 0}, {NULL, 0}};
static const struct option_choice drift_choices[] = {
    {"auto", RUN_DRIFT_AUTO}, {"off", 0}, {NULL, 0}};
const struct option_choice run_auto_choices[] = {{"auto", 0}, {NULL, 0}};

#define TARGET(member) .offset = offsetof(struct run_options, member)
/* Straight into the cell that a worker is sent: a member of spec/cell.def. */
#define CELL_TARGET(member) \
    TARGET(cell.member), .bytes = sizeof(((struct run_options *)NULL)->cell.member)

static const struct option run_rows[] = {
    {.name = "engine",
     .type = OPTION_TEXT,
     TARGET(engine),
     .arg = "NAME",
     .def = "native",
     .max = CELL_PATH_BYTES - 1,
     .group = RUN_GROUP_WHAT,
     .check = run_check_engine,
     .word_at = run_engine_at,
     .help = "what runs the model: one of `tokmark engines`, or exec:COMMAND for any program that "
             "speaks the worker protocol"},
    {.name = "model",
     .type = OPTION_TEXT,
     TARGET(model),
     .arg = "MODEL",
     .def = "superintelligence-tiny",
     .max = CELL_PATH_BYTES - 1,
     .group = RUN_GROUP_WHAT,
     .word_at = run_preset_at,
     .help =
         "one of `tokmark models`, or the path of a .json file like those in models/; for engines "
         "in Python also FILE.py:NAME, pkg.module:NAME, and hf:DIR or the id of a model in the "
         "Hugging Face Hub's cache (docs/pytorch.md)"},
    {.name = "set",
     .type = OPTION_WORDS,
     TARGET(settings),
     .arg = "KEY=VALUE",
     .max = MODEL_NAME_BYTES - 1,
     .group = RUN_GROUP_WHAT,
     .check = run_check_setting,
     .help = "another value for the model: --set layers_count=2 dropout=0; for a model of your own "
             "a parameter, a field of its configuration, or of a nested one: text.dim=64. Commas "
             "belong "
             "to the value"},
    {.name = "moe",
     .type = OPTION_CHOICE,
     CELL_TARGET(options.moe),
     .arg = "HOW",
     .def = "routed",
     .choices = cell_moe_choices,
     .engines = "pytorch jax exec:",
     .group = RUN_GROUP_WHAT,
     .help = "pytorch, jax: compute the chosen experts, or as published every expert for every "
             "token"},
    {.name = "compile",
     .type = OPTION_CHOICE,
     CELL_TARGET(options.compile),
     .arg = "HOW",
     .def = "off",
     .choices = cell_compile_choices,
     .engines = "pytorch exec:",
     .group = RUN_GROUP_WHAT,
     .help = "pytorch: torch.compile in this mode"},
    {.name = "attention",
     .type = OPTION_CHOICE,
     CELL_TARGET(options.attention),
     .arg = "KERNEL",
     .def = "auto",
     .choices = cell_attention_choices,
     .engines = "pytorch exec:",
     .group = RUN_GROUP_WHAT,
     .help = "pytorch: the one kernel that scaled_dot_product_attention may use; auto: PyTorch "
             "chooses"},
    {.name = "model-source",
     .type = OPTION_CHOICE,
     CELL_TARGET(options.source),
     .arg = "WHOSE",
     .def = "auto",
     .choices = cell_source_choices,
     .engines = "pytorch jax exec:",
     .group = RUN_GROUP_WHAT,
     .help = "pytorch: auto uses your superintelligence package if found, builtin never"},
    {.name = "trust-remote-code",
     .type = OPTION_FLAG,
     CELL_TARGET(options.trusts_code),
     .group = RUN_GROUP_WHAT,
     .help = "pytorch, --model hf:DIR: run the model's own code in DIR"},
    {.name = "lr",
     .type = OPTION_TEXT,
     CELL_TARGET(options.learning_rate),
     .arg = "RATE",
     .max = CELL_WORD_BYTES - 1,
     .engines = "native pytorch jax exec:",
     .group = RUN_GROUP_WHAT,
     .check = run_check_learning_rate,
     .help = "learning rate of AdamW, for train; otherwise 3e-4, as published"},
    {.name = "python",
     .type = OPTION_TEXT,
     TARGET(python),
     .arg = "PATH",
     .max = CELL_PATH_BYTES - 1,
     .engines = "pytorch jax",
     .group = RUN_GROUP_WHAT,
     .help = "pytorch, jax: the interpreter, or a virtual environment's folder; otherwise "
             "$TOKMARK_PYTHON, an active environment, .venv, tokmark setup's, python3"},
    {.name = "weights",
     .type = OPTION_TEXT,
     TARGET(weights),
     .arg = "FILE",
     .max = CELL_PATH_BYTES - 1,
     .group = RUN_GROUP_WHAT,
     .help = "start from these weights (safetensors: a file, an index of several, or their "
             "folder) instead of random ones"},
    {.name = "data",
     .type = OPTION_TEXT,
     TARGET(data),
     .arg = "FILE",
     .def = "synthetic",
     .max = CELL_PATH_BYTES - 1,
     .group = RUN_GROUP_WHAT,
     .help = "tokens to use: a file, or synthetic for uniform random ones"},
    {.name = "data-format",
     .type = OPTION_CHOICE,
     TARGET(data_format),
     .arg = "FORM",
     .def = "auto",
     .choices = data_format_choices,
     .group = RUN_GROUP_WHAT,
     .help =
         "how the file is read; auto recognises llm.c's header, reads other .bin files as uint16, "
         "and the rest as text with one token per byte"},
    {.name = "seed",
     .type = OPTION_NUMBER,
     CELL_TARGET(seed),
     .arg = "N",
     .def = "0",
     .max = INT64_MAX,
     .group = RUN_GROUP_WHAT,
     .help = "seed of weights, tokens and dropout"},

    {.name = "device",
     .type = OPTION_TEXT,
     TARGET(device),
     .arg = "DEVICE",
     .def = "cpu",
     .max = CELL_WORD_BYTES - 1,
     .group = RUN_GROUP_SWEEP,
     .check = run_check_device,
     .word_at = run_device_at,
     .help = "cpu, cuda:N or tpu; gpu is cuda:0"},
    {.name = "platform",
     .type = OPTION_TEXT,
     TARGET(platform),
     .arg = "NAME",
     .def = "gpu",
     .max = CELL_WORD_BYTES - 1,
     .group = RUN_GROUP_SWEEP,
     .programs = PROGRAM_BENCH_JAX,
     .check = run_check_platform,
     .word_at = run_platform_at,
     .help = "the device, in JAX's words: cpu, gpu, cuda or tpu"},
    {.name = "precision",
     .type = OPTION_CHOICES,
     TARGET(precisions),
     .arg = "NAME",
     .def = "fp32",
     .choices = cell_precision_choices,
     .aliases = cell_precision_aliases,
     .group = RUN_GROUP_SWEEP,
     .help = "of the computation; float32, bfloat16, half and similar names also work"},
    {.name = "mode",
     .type = OPTION_CHOICES,
     TARGET(modes),
     .arg = "NAME",
     .def = "train infer",
     .choices = cell_mode_choices,
     .aliases = cell_mode_aliases,
     .group = RUN_GROUP_SWEEP,
     .help = "train: forward, loss, backward, optimizer; infer: forward, also called prefill; "
             "decode: one token per step, also called generate"},
    {.name = "seq",
     .type = OPTION_AXIS,
     TARGET(seq_lens),
     .arg = "N",
     .def = "128",
     .max = SEQ_LEN_MAX,
     .choices = seq_goals,
     .group = RUN_GROUP_SWEEP,
     .help = "tokens in a row; also 128,512, 128-2048*2, 64-256+64 and 4k; max: the most that fit"},
    {.name = "batch",
     .type = OPTION_AXIS,
     TARGET(batch_sizes),
     .arg = "N",
     .def = "4",
     .max = BATCH_SIZE_MAX,
     .choices = batch_goals,
     .group = RUN_GROUP_SWEEP,
     .help =
         "rows in a step; max: the most that fit, best: as many as give the most tokens/s; both "
         "are found by trials (docs/fit.md)"},

    {.name = "steps",
     .type = OPTION_NUMBER,
     TARGET(steps),
     .arg = "N",
     .min = 1,
     .max = 1000000000,
     .group = GROUP_LONG,
     .help =
         "measure exactly N steps (disturbed ones again, N more at most); replaces --target-ci and "
         "--max-time"},
    {.name = "target-ci",
     .type = OPTION_REAL,
     TARGET(target_ci_percent),
     .arg = "PCT",
     .def = "1",
     .min = 1,
     .max = 5000,
     .group = GROUP_LONG,
     .help =
         "measure until the 95 % confidence interval of the median is within PCT percent of it; if "
         "given here and not reached, the cell is unsteady"},
    {.name = "max-time",
     .type = OPTION_DURATION,
     TARGET(max_time_ns),
     .arg = "TIME",
     .def = "30s",
     .group = GROUP_LONG,
     .help = "the longest measurement per cell, an automatic warm-up (half of it at most) and "
             "pauses included, the first step not; 30s, 2m, 1h, 250ms"},
    {.name = "warmup",
     .type = OPTION_NUMBER,
     TARGET(warmup),
     .arg = "N",
     .def = "auto",
     .max = 1000000,
     .choices = warmup_choices,
     .group = GROUP_LONG,
     .help = "steps before measuring; auto ends when steps are steady"},
    {.name = "trials",
     .type = OPTION_NUMBER,
     TARGET(trials),
     .arg = "N",
     .def = "1",
     .min = 1,
     .max = 1000,
     .group = GROUP_LONG,
     .help = "times to measure each cell, in a fresh process; with 2 or more the order of cells is "
             "shuffled for each trial, by --seed"},
    {.name = "sentinel",
     .type = OPTION_REAL,
     TARGET(canary_minutes),
     .arg = "MIN",
     .def = "15",
     .min = 1,
     .max = 14400000,
     .choices = off_choices,
     .group = GROUP_LONG,
     .help = "canary cell: measure the first good cell again every MIN minutes, to see whether the "
             "machine has changed"},
    {.name = "sync",
     .type = OPTION_CHOICE,
     TARGET(sync),
     .arg = "HOW",
     .def = "step",
     .choices = sync_choices,
     .group = GROUP_LONG,
     .help = "wait for the device after each step, or once per block of steps"},

    {.name = "threads",
     .type = OPTION_NUMBER,
     CELL_TARGET(threads_count),
     .arg = "N",
     .def = "auto",
     .min = 1,
     .max = 1024,
     .choices = run_auto_choices,
     .group = GROUP_LIMITS,
     .help = "compute threads of the engine"},
    {.name = "foreign-load",
     .type = OPTION_NUMBER,
     TARGET(foreign_load),
     .arg = "PCT",
     .def = "10",
     .min = 1,
     .max = 100,
     .choices = off_choices,
     .group = GROUP_LIMITS,
     .help = "interference: a block is set aside if others use more than this share of the cell's "
             "CPUs, "
             "or if its threads wait for a CPU; off keeps every block"},
    {.name = "pace",
     .type = OPTION_CHOICE,
     TARGET(pace),
     .arg = "HOW",
     .def = "on",
     .choices = switch_choices,
     .group = GROUP_LIMITS,
     .help = "clock check: warn of a CPU whose clock is slower than in earlier runs"},
    {.name = "history",
     .type = OPTION_CHOICE,
     TARGET(history),
     .arg = "HOW",
     .def = "on",
     .choices = switch_choices,
     .group = GROUP_LIMITS,
     .help = "warn if a cell on the CPU disagrees with earlier runs on this machine; off neither "
             "compares nor keeps runs"},
    {.name = "drift",
     .type = OPTION_NUMBER,
     TARGET(drift),
     .arg = "PCT",
     .def = "auto",
     .min = 1,
     .max = 1000,
     .choices = drift_choices,
     .group = GROUP_LIMITS,
     .help =
         "warn if the two halves of a cell's samples certainly differ by more than this; auto is "
         "--target-ci, or 1; off does not look"},
    {.name = "timeout",
     .type = OPTION_DURATION,
     TARGET(timeout_ns),
     .arg = "TIME",
     .def = "10m",
     .group = GROUP_LIMITS,
     .help = "longest start, opening or block of steps; a cell that takes longer ends as timeout"},
    {.name = "memory-limit",
     .type = OPTION_BYTES,
     TARGET(memory_limit_bytes),
     .arg = "BYTES",
     .def = "auto",
     .choices = run_auto_choices,
     .group = GROUP_LIMITS,
     .help = "stop a worker that grows past this; 512M, 2GB, 20GiB, in units of 1024; auto keeps a "
             "reserve free"},
    {.name = "try-all",
     .type = OPTION_FLAG,
     TARGET(tries_all),
     .group = GROUP_LIMITS,
     .help =
         "run every cell; without it, a cell that needs at least as much memory as one that did "
         "not fit is recorded as oom without being run"},
    {.name = "launch",
     .type = OPTION_TEXT,
     TARGET(launch),
     .arg = "PREFIX",
     .group = GROUP_LIMITS,
     .check = run_check_command,
     .help = "words put before the worker's command: 'numactl -N 0', 'ssh box'"},
    {.name = "fresh",
     .type = OPTION_FLAG,
     TARGET(is_fresh),
     .engines = "pytorch jax",
     .group = GROUP_LIMITS,
     .help = "pytorch, jax: every worker imports the framework by itself; otherwise one process "
             "imports it and forks them"},

    {.name = "out",
     .type = OPTION_TEXT,
     TARGET(out),
     .arg = "DIR",
     .def = "_bench",
     .max = 3800,
     .group = GROUP_OUTPUT,
     .help = "folder of bench_results.jsonl and .csv, samples/ and logs/; appended to"},
    {.name = "resume",
     .type = OPTION_CHOICE,
     TARGET(resume),
     .arg = "WHAT",
     .bare = "unfinished",
     .choices = resume_choices,
     .group = GROUP_OUTPUT,
     .help =
         "skip cells that already have a finished record in DIR; =unsteady measures those again "
         "whose record is unsteady; table and exit code are of all of DIR"},
    {.name = "zip",
     .type = OPTION_FLAG,
     TARGET(wants_zip),
     .group = GROUP_OUTPUT,
     .help = "also make DIR.zip next to the folder"},
    {.name = "sandbox",
     .type = OPTION_FLAG,
     TARGET(is_sandbox),
     .group = GROUP_OUTPUT,
     .help = "made-up results instead of measured ones, marked synthetic: to try out programs that "
             "read the files"},
    {.name = "compare",
     .type = OPTION_TEXT,
     TARGET(compare_base),
     .arg = "BASE",
     .max = CELL_PATH_BYTES - 1,
     .group = GROUP_OUTPUT,
     .help = "then compare the results with BASE, as `tokmark compare BASE DIR` does"},
    {.name = "gate",
     .type = OPTION_REAL,
     TARGET(gate_percent),
     .arg = "PCT",
     .min = 1,
     .max = 100000,
     .group = GROUP_OUTPUT,
     .help = "with --compare: exit with 1 if a cell is worse by PCT % or more, with 3 if that "
             "cannot be decided"},
    {.name = "matrix",
     .type = OPTION_TEXT,
     TARGET(matrix),
     .arg = "FILE",
     .max = CELL_PATH_BYTES - 1,
     .group = GROUP_OUTPUT,
     .check = matrix_check_file,
     .help = "whether this machine meets an environment matrix (YAML), into every record's "
             "environment; what is not met does not stop the run (docs/machine.md)"},
    {.name = "price-per-kwh",
     .type = OPTION_REAL,
     TARGET(price_per_kwh),
     .arg = "PRICE",
     .max = UINT32_MAX,
     .group = GROUP_OUTPUT,
     .help = "of energy, in any unit of money: for price_per_million_tokens (docs/machine.md)"},
    {.name = "price-per-hour",
     .type = OPTION_REAL,
     TARGET(price_per_hour),
     .arg = "PRICE",
     .max = UINT32_MAX,
     .group = GROUP_OUTPUT,
     .help = "of the machine; with both, the sum"},
    {.name = "strict",
     .type = OPTION_FLAG,
     TARGET(is_strict),
     .group = GROUP_OUTPUT,
     .help = "exit code 3 also for cells that are unsteady or have warnings"},
    {.name = "dry-run",
     .type = OPTION_FLAG,
     TARGET(is_dry_run),
     .group = GROUP_OUTPUT,
     .help = "print the cells with their memory and time; start and write nothing"},
    {.name = "progress",
     .type = OPTION_CHOICE,
     TARGET(progress),
     .arg = "WHEN",
     .def = "auto",
     .choices = when_choices,
     .group = GROUP_OUTPUT,
     .help = "on stderr: always rewrites one line; auto does so on a terminal, and elsewhere "
             "writes a line per cell"},
    {.name = "hud",
     .type = OPTION_FLAG,
     TARGET(has_hud),
     .group = GROUP_OUTPUT,
     .help = "the sweep on the whole screen while it is measured, as `tokmark hud` shows it"},
    {.name = "color",
     .type = OPTION_CHOICE,
     TARGET(color),
     .arg = "WHEN",
     .def = "auto",
     .choices = when_choices,
     .group = GROUP_OUTPUT,
     .help = "colour in the table; auto: on a terminal without NO_COLOR"},
    FORM_ROW(offsetof(struct run_options, form), GROUP_OUTPUT),
    {.name = "verbose",
     .short_name = 'v',
     .type = OPTION_FLAG,
     TARGET(is_verbose),
     .group = GROUP_OUTPUT,
     .help = "the whole text of reasons and warnings under the table, not its beginning"},
    {.name = "quiet",
     .short_name = 'q',
     .type = OPTION_FLAG,
     TARGET(is_quiet),
     .group = GROUP_OUTPUT,
     .help = "nothing on stderr but errors"},
    COMMAND_HELP_ROW,
};

const struct command command_run = {
    .name = "run",
    .summary = "Measures a sweep of cells and appends one record per cell to DIR.",
    .description =
        "A cell is one combination of precision, sequence length, batch size and mode of one model "
        "on one engine and device. Each cell runs in its own worker process. If it runs out of "
        "memory, hangs or crashes, that is recorded and the sweep goes on. Nothing is ever "
        "replaced "
        "by something else: a cell that cannot run is an error or an 'unsupported' record, with "
        "the reason.\n\n"
        "Results go to stdout and to DIR, progress to stderr. SIGUSR1 prints a status line. The "
        "first Ctrl-C ends the block, writes the record and stops; the second stops at once.\n\n"
        "If a flag is given twice, the last one counts; list flags add up. '--' ends the "
        "flags; --flag=VALUE gives a value that begins with '-'.",
    .examples = "--dry-run\n"
                "--seq 128 512 2048 --batch 4 8 --mode train infer decode\n"
                "--model gpt2-124m --data input.txt --steps 200 --out gpt2\n"
                "--resume --trials 3 --target-ci 0.5 --max-time 2m\n"
                "--sandbox --zip",
    .options = run_rows,
    .options_count = ARRAY_COUNT(run_rows),
    .run = run_command,
};
