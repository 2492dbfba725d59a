#include <stdlib.h>

#include "cli/cell_choices.h"
#include "cli/run_options.h"
#include "cli/run_words.h"
#include "cli/stability_base.h"
#include "cli/stability_run.h"
#include "drive/training.h"
#include "spec/cell.h"

#define GROUP_WHAT     "What to compare"
#define GROUP_TRAIN    "How to train"
#define GROUP_OUTPUT   "Output"
#define SEQ_LEN_MAX    65536
#define BATCH_MAX      65536

#define TARGET(member) .offset = offsetof(struct stability_options, member)

static const struct option stability_rows[] = {
    {.name = "engines",
     .type = OPTION_WORDS,
     TARGET(check.engines),
     .arg = "NAME",
     .max = CELL_PATH_BYTES - 1,
     .group = GROUP_WHAT,
     .help = "engines to train with: native,pytorch; native if none is named; also exec:COMMAND, "
             "which goes on to the end of its word"},
    {.name = "precision",
     .type = OPTION_CHOICES,
     TARGET(check.precisions),
     .arg = "NAME",
     .def = "fp32",
     .choices = cell_precision_choices,
     .aliases = cell_precision_aliases,
     .group = GROUP_WHAT,
     .help = "every engine trains in each of them"},
    {.name = "tolerance",
     .type = OPTION_REAL,
     TARGET(tolerance_percent),
     .arg = "PCT",
     .def = "auto",
     .min = 1,
     .max = 10000,
     .choices = run_auto_choices,
     .group = GROUP_WHAT,
     .help = "how far the loss of any step may be from the first training's; auto: by precision"},
    {.name = "base",
     .type = OPTION_TEXT,
     TARGET(base),
     .arg = "DIR",
     .max = 3800,
     .group = GROUP_WHAT,
     .help = "compare with the trainings of an earlier call in DIR instead: of another version, "
             "machine or library"},
    {.name = "model",
     .type = OPTION_TEXT,
     TARGET(check.model),
     .arg = "MODEL",
     .def = "superintelligence-tiny",
     .max = CELL_PATH_BYTES - 1,
     .group = GROUP_TRAIN,
     .word_at = run_preset_at,
     .help = "one of `tokmark models`, without dropout; with one engine also a model of your own, "
             "as for run"},
    {.name = "steps",
     .type = OPTION_NUMBER,
     TARGET(steps),
     .arg = "N",
     .def = "200",
     .min = 1,
     .max = TRAINING_STEPS_MAX,
     .group = GROUP_TRAIN,
     .help = "steps of training"},
    {.name = "seq",
     .type = OPTION_NUMBER,
     TARGET(check.seq_len),
     .arg = "N",
     .def = "64",
     .min = 1,
     .max = SEQ_LEN_MAX,
     .group = GROUP_TRAIN,
     .help = "tokens in a row"},
    {.name = "batch",
     .type = OPTION_NUMBER,
     TARGET(check.batch_size),
     .arg = "N",
     .def = "4",
     .min = 1,
     .max = BATCH_MAX,
     .group = GROUP_TRAIN,
     .help = "rows in a step"},
    {.name = "data",
     .type = OPTION_TEXT,
     TARGET(check.data),
     .arg = "FILE",
     .max = CELL_PATH_BYTES - 1,
     .group = GROUP_TRAIN,
     .help = "what to train on: a text, or a file of tokens; otherwise a text that is built in, of "
             "8 KB"},
    {.name = "weights",
     .type = OPTION_WORDS,
     TARGET(check.weights),
     .arg = "FILE",
     .max = 2 * CELL_PATH_BYTES,
     .group = GROUP_TRAIN,
     .help = "weights (safetensors) to start from instead of made ones; ENGINE=FILE for one engine "
             "only"},
    {.name = "device",
     .type = OPTION_WORDS,
     TARGET(check.devices),
     .arg = "DEVICE",
     .max = 2 * CELL_PATH_BYTES,
     .group = GROUP_TRAIN,
     .help = "cpu (the default), cuda, cuda:N, gpu or tpu; ENGINE=DEVICE for one engine only"},
    {.name = "out",
     .type = OPTION_TEXT,
     TARGET(check.out),
     .arg = "DIR",
     .def = "_bench",
     .max = 3800,
     .group = GROUP_OUTPUT,
     .help = "folder of stability.jsonl, which is appended to, stability.csv and logs/"},
    {.name = "keep",
     .type = OPTION_FLAG,
     TARGET(check.is_kept),
     .group = GROUP_OUTPUT,
     .help = "leave the weights and the text in DIR/stability.*"},
};

/* The rows of `run` that mean the same here. */
static const char *const run_names[] = {
    "lr",           "python", "set",   "seed",  "data-format", "threads", "timeout",
    "memory-limit", "launch", "fresh", "color", "quiet",       "help",    NULL};

static enum exit_code run_stability(const struct invocation *call)
{
    struct stability_options options = {0};
    enum exit_code code;
    if (!command_parse(call, &options, NULL, &code))
        return code;
    if (options.check.engines.count == 0)
        options.check.engines = (struct option_texts){.items = {"native"}, .count = 1};
    options.check.mode = CELL_MODE_TRAIN;
    options.check.is_stability = true;
    struct err err = {0};
    struct check_setup *setup = calloc(1, sizeof(*setup)); /* large: a cell for each engine */
    enum status status = setup == NULL ? ERR(&err, STATUS_NOMEM, "out of memory")
                                       : check_setup_make(&options.check, setup, &err);
    if (status == STATUS_OK && options.base != NULL)
        status = stability_base_check(options.base, &err);
    if (status == STATUS_OK) {
        code = stability_run_all(call, &options, setup);
    } else {
        command_complain(call, "%s", err.text);
        code = status == STATUS_NOMEM ? EXIT_CODE_IO : EXIT_CODE_USAGE;
    }
    free(setup);
    return code;
}

const struct command command_stability = {
    .name = "stability",
    .summary = "Trains on a real text, and says whether it is stable and the same everywhere.",
    .description =
        "Every engine trains one model from the same weights on the same text, without dropout, in "
        "each precision. The loss and the norm of the gradients are kept for every step. A loss "
        "that is not a number, or that ends higher than it began, makes a training 'invalid', with "
        "the step at which that began. Each training is compared with the first one, step by step; "
        "docs/stability.md has the measures and the tolerances.\n\n"
        "Exit code 0: every training is stable, and within tolerance of the first. 1: one is not, "
        "or a worker failed. 4: nothing was trained. The results are appended to "
        "DIR/stability.jsonl; DIR/stability.csv has a row a step.",
    .examples = "\n"
                "--engines native pytorch jax\n"
                "--engines pytorch --device cuda --precision fp32 bf16\n"
                "--engines pytorch --model ./model.py:MyModel --lr 1e-3\n"
                "--base earlier",
    .options = stability_rows,
    .options_count = ARRAY_COUNT(stability_rows),
    .base = &command_run,
    .base_names = run_names,
    .run = run_stability,
};
