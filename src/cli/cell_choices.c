#include "cli/cell_choices.h"

#include "spec/cell.h"

#define LIST_TEXT(member, bytes)
#define LIST_HASH(member, bytes)
#define LIST_WORD(member, ...) \
    const struct option_choice cell_##member##_choices[] = {__VA_ARGS__{NULL, 0}};
#define LIST_FLAG(member, ...)
#define LIST_COUNT(member, least)
#define LIST_SEED(member, bytes)
#define LIST_MODEL(member, none)
#define LIST_SETTINGS(member, bytes)
#define LIST_OPTIONS(member, none)
#define W(constant, word)                               {word, constant},
#define CELL(member, key, kind, need, limit, meaning)   LIST_##kind(member, limit)
#define OPTION(member, key, kind, need, limit, meaning) LIST_##kind(member, limit)
#include "spec/cell.def"

const struct option_choice cell_mode_aliases[] = {
    {"training", CELL_MODE_TRAIN},
    {"inference", CELL_MODE_INFER},
    {"prefill", CELL_MODE_INFER},
    {"forward", CELL_MODE_INFER},
    {"generate", CELL_MODE_DECODE},
    {"generation", CELL_MODE_DECODE},
    {NULL, 0},
};

const struct option_choice cell_precision_aliases[] = {
    {"float32", CELL_PRECISION_FP32},  {"float", CELL_PRECISION_FP32},
    {"single", CELL_PRECISION_FP32},   {"full", CELL_PRECISION_FP32},
    {"bfloat16", CELL_PRECISION_BF16}, {"float16", CELL_PRECISION_FP16},
    {"half", CELL_PRECISION_FP16},     {NULL, 0},
};
