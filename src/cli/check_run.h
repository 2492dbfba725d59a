/* cli/check_run.h - `tokmark check`, once its flags are known to be right. */
#ifndef CLI_CHECK_RUN_H
#define CLI_CHECK_RUN_H

#include "cli/check_setup.h"
#include "cli/command.h"

enum exit_code check_run_all(const struct invocation *call, struct check_setup *setup);

#endif
