/* cli/stability_run.h - `tokmark stability`, once its flags are known to be right. */
#ifndef CLI_STABILITY_RUN_H
#define CLI_STABILITY_RUN_H

#include "cli/check_setup.h"
#include "cli/command.h"

struct stability_options {
    struct check_options check; /* first: the flags that are those of `run` */
    uint64_t steps;
    double tolerance_percent; /* 0 = by precision */
    const char *base;         /* borrowed: from the command line; a folder with a
                               * stability.jsonl; NULL = none */
};

/* `setup`: made from options->check. */
enum exit_code stability_run_all(const struct invocation *call,
                                 const struct stability_options *options,
                                 struct check_setup *setup);

#endif
