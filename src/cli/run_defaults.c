/* cli/run_defaults.c - the published defaults of bench_pytorch and bench_jax. */
#include "cli/run_options.h"

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
