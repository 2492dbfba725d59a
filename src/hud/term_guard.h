/* hud/term_guard.h - gives the terminal back when this process is killed at once (kill -9, the
 * kernel for want of memory): a process of its own that does nothing but wait for that.
 */
#ifndef HUD_TERM_GUARD_H
#define HUD_TERM_GUARD_H

#include <stddef.h>
#include <sys/types.h>
#include <termios.h>

struct term_guard {
    pid_t pid; /* 0 = there is none */
    int fd;    /* its end is the end of this process */
};

/* `text` is written to the terminal, and it gets the modes. Where no process can be started there
 * is no guard. */
void term_guard_start(struct term_guard *guard, const struct termios *modes, const char *text,
                      size_t text_bytes);
/* The terminal is given back: the guard ends. From a signal's handler, too. */
void term_guard_dismiss(const struct term_guard *guard);
/* After that. No-op where there is none. */
void term_guard_end(struct term_guard *guard);

#endif
