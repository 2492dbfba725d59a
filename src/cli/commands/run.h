/* cli/commands/run.h - `tokmark run`, from its options to its exit code. */
#ifndef CLI_COMMANDS_RUN_H
#define CLI_COMMANDS_RUN_H

#include "cli/command.h"

enum exit_code run_command(const struct invocation *call);

/* The names that --engine knows, then "exec:", then NULL. */
const char *run_engine_at(unsigned index);

#endif
