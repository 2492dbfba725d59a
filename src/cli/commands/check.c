#include <stdlib.h>

#include "cli/cell_choices.h"
#include "cli/check_run.h"
#include "cli/check_setup.h"
#include "cli/run_layouts.h"
#include "cli/run_options.h"
#include "cli/run_words.h"
#include "spec/cell.h"

#define GROUP_WHAT   "What to compare"
#define GROUP_BATCH  "On what"
#define GROUP_LIMITS "Limits"
#define GROUP_OUTPUT "Output"
#define SEQ_LEN_MAX  65536
#define BATCH_MAX    65536

/* Those that docs/check.md states a tolerance for. */
static const struct option_choice precision_choices[] = {
    {"fp32", CELL_PRECISION_FP32}, {"tf32", CELL_PRECISION_TF32},
    {"bf16", CELL_PRECISION_BF16}, {"bf16-pure", CELL_PRECISION_BF16_PURE},
    {"fp16", CELL_PRECISION_FP16}, {NULL, 0}};

#define TARGET(member) .offset = offsetof(struct check_options, member)

static const struct option check_rows[] = {
    {.name = "engines",
     .type = OPTION_WORDS,
     TARGET(engines),
     .arg = "NAME",
     .max = CELL_PATH_BYTES - 1,
     .group = GROUP_WHAT,
     .help = "the others are compared with the first: native,pytorch; also exec:COMMAND, "
             "which goes on to the end of its word"},
    {.name = "precision",
     .type = OPTION_CHOICES,
     TARGET(precisions),
     .arg = "NAME",
     .def = "fp32",
     .choices = precision_choices,
     .aliases = cell_precision_aliases,
     .group = GROUP_WHAT,
     .help = "fp32 compares the engines; each lower one is compared with the same engine's fp32"},
    {.name = "mode",
     .type = OPTION_CHOICE,
     TARGET(mode),
     .arg = "NAME",
     .def = "train",
     .choices = cell_mode_choices,
     .aliases = cell_mode_aliases,
     .group = GROUP_WHAT,
     .help = "train: logits, loss and gradients; infer and decode: logits and loss"},
    {.name = "train-steps",
     .type = OPTION_NUMBER,
     TARGET(train_steps),
     .arg = "N",
     .def = "0",
     .max = 100,
     .group = GROUP_WHAT,
     .help = "also compare the parameters after N AdamW steps on the same batch"},
    {.name = "model",
     .type = OPTION_TEXT,
     TARGET(model),
     .arg = "PRESET",
     .def = "superintelligence-tiny",
     .max = CELL_PATH_BYTES - 1,
     .group = GROUP_BATCH,
     .word_at = run_preset_at,
     .help = "one of `tokmark models`, or the path of a .json file like those in models/; always "
             "without dropout"},
    {.name = "weights",
     .type = OPTION_WORDS,
     TARGET(weights),
     .arg = "FILE",
     .max = 2 * CELL_PATH_BYTES,
     .group = GROUP_BATCH,
     .help = "weights (safetensors) instead of made ones; ENGINE=FILE for one engine only"},
    {.name = "seq",
     .type = OPTION_NUMBER,
     TARGET(seq_len),
     .arg = "N",
     .def = "32",
     .min = 1,
     .max = SEQ_LEN_MAX,
     .group = GROUP_BATCH,
     .help = "tokens in a row"},
    {.name = "batch",
     .type = OPTION_NUMBER,
     TARGET(batch_size),
     .arg = "N",
     .def = "2",
     .min = 1,
     .max = BATCH_MAX,
     .group = GROUP_BATCH,
     .help = "rows in the batch"},
    {.name = "device",
     .type = OPTION_WORDS,
     TARGET(devices),
     .arg = "DEVICE",
     .max = 2 * CELL_PATH_BYTES,
     .group = GROUP_BATCH,
     .help = "cpu (the default), cuda, cuda:N, gpu or tpu; ENGINE=DEVICE for one engine only; with "
             "--parallel several: pytorch=cpu:2"},
    {.name = "parallel",
     .type = OPTION_TEXT,
     TARGET(parallel),
     .arg = "LAYOUT",
     .max = PARALLEL_TEXT_BYTES - 1,
     .choices = run_layout_choices,
     .group = GROUP_BATCH,
     .check = parallel_check,
     .help = "pytorch, jax: how a --device of several shares the work, to be compared with an "
             "engine on one device; a product too: fsdp:2,tp:2"},
    {.name = "out",
     .type = OPTION_TEXT,
     TARGET(out),
     .arg = "DIR",
     .def = "_bench",
     .max = 3800,
     .group = GROUP_OUTPUT,
     .help = "folder of checks.jsonl and logs/; appended to"},
    {.name = "keep",
     .type = OPTION_FLAG,
     TARGET(is_kept),
     .group = GROUP_OUTPUT,
     .help = "leave the weights, the batch and what the engines wrote in DIR/check.*"},
};

/* The rows of `run` that mean the same here. */
static const char *const run_names[] = {"python",  "set",          "seed",   "threads",
                                        "timeout", "memory-limit", "launch", "fresh",
                                        "color",   "quiet",        "help",   NULL};

static enum exit_code run_check(const struct invocation *call)
{
    struct check_options options = {0};
    enum exit_code code;
    if (!command_parse(call, &options, NULL, &code))
        return code;
    struct err err = {0};
    struct check_setup *setup = calloc(1, sizeof(*setup)); /* large: a cell for each engine */
    enum status status = setup == NULL ? ERR(&err, STATUS_NOMEM, "out of memory")
                                       : check_setup_make(&options, setup, &err);
    if (status == STATUS_OK) {
        code = check_run_all(call, setup);
    } else {
        command_complain(call, "%s", err.text);
        code = status == STATUS_NOMEM ? EXIT_CODE_IO : EXIT_CODE_USAGE;
    }
    free(setup);
    return code;
}

const struct command command_check = {
    .name = "check",
    .summary = "Compares engines' numbers on equal weights and tokens.",
    .description =
        "Every engine computes one batch of one preset from the same weights, without dropout. The "
        "engine named first is the reference in fp32; a lower precision is compared with the same "
        "engine's fp32. Logits, loss, every gradient, and the weights that an engine has really "
        "loaded, are compared tensor by tensor; docs/check.md has the error measure and the "
        "tolerances. What an engine does not support is 'unsupported', which is no failure.\n\n"
        "Exit code 0: everything compared is within tolerance. 1: something is not, or a worker "
        "failed. 4: nothing could be compared. The outcome is appended to DIR/checks.jsonl.",
    .examples = "--engines native,pytorch\n"
                "--engines native pytorch --precision fp32 bf16 --train-steps 3\n"
                "--engines pytorch --precision bf16\n"
                "--engines native,pytorch --weights model.safetensors --seq 128\n"
                "--engines native,pytorch --device cpu pytorch=cuda:0\n"
                "--engines native,pytorch --device pytorch=cpu:2 --parallel fsdp",
    .options = check_rows,
    .options_count = ARRAY_COUNT(check_rows),
    .base = &command_run,
    .base_names = run_names,
    .run = run_check,
};
