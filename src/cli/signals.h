/* cli/signals.h - the signals of a run, as flags and a descriptor to wait on.
 *
 * SIGINT, SIGTERM and SIGHUP count up: 1 = end the block and stop, 2 and more = stop at once.
 * SIGUSR1 asks for a status line. The flags are the program's only mutable globals: a handler can
 * reach nothing else.
 */
#ifndef CLI_SIGNALS_H
#define CLI_SIGNALS_H

#include <signal.h>
#include <stdbool.h>

#include "base/status.h"

/* Installs the handlers; *ret_wake_fd becomes readable with the first stopping signal and stays so.
 */
MUST_CHECK enum status signals_open(int *ret_wake_fd, struct err *err);
/* Closes the descriptor. The handlers stay: the flags are still theirs. */
void signals_close(void);

/* How often to stop was asked for; 0 = go on. */
const volatile sig_atomic_t *signals_interrupt(void);
/* The first such signal's number; 0 = none. */
int signals_number(void);
/* "SIGINT"; "" = none. */
const char *signals_name(void);
/* Was a status line asked for since the last call? */
bool signals_take_status(void);

#endif
