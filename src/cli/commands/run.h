/* cli/commands/run.h - `tokmark run`, from its options to its exit code. */
#ifndef CLI_COMMANDS_RUN_H
#define CLI_COMMANDS_RUN_H

#include "cli/command.h"

enum exit_code run_command(const struct invocation *call);

#endif
