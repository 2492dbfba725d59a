/* cli/busy.h - a busy machine is said before anything is started, so that one can wait, or stop
 * what makes it so, instead of reading of it in every cell. */
#ifndef CLI_BUSY_H
#define CLI_BUSY_H

#include "cli/command.h"
#include "cli/run_options.h"

/* A line on stderr, if the processors are busy; looks for 0.4 s. Nothing with --quiet, nor where
 * others do not count (--foreign-load off, made-up results). */
void busy_notice(const struct invocation *call, const struct run_options *options);

#endif
